"""Take out of an image what nothing runs, a fifth of it: tests, headers, parts for Jupyter, bytecode of unused modules.

Run in each layer that installs packages without compiling them. In the last one, "compile" imports the modules that the
explorer and its runs use: that leaves their bytecode, so that containers, which cannot write there, start fast. Any
other module is compiled when it is needed.
"""

import shutil
import sys
import sysconfig
from importlib import import_module
from pathlib import Path

UNUSED = (
    "tests",
    "test",
    "include",
    "labextension",
    "nbextension",
    "tensorboard_data_server/bin",  # makes tensorboard faster
    "torch/bin/*[!r]",  # all but torch_shm_manager, through which loader processes share memory
)
USED = (
    "alembic.command",
    "cv2",
    "faiss",
    "ijson",
    "itsdangerous",
    "matplotlib.pyplot",
    "numba",
    "openTSNE",
    "pandas",
    "plotly.graph_objects",
    "psutil",
    "pyarrow",
    "pydantic",
    "rich.progress",
    "skimage.measure",
    "sklearn.svm",
    "sqlalchemy.orm",
    "starlette.applications",
    "streamlit.web.bootstrap",
    "torch.utils.tensorboard",
    "torchvision",
    "typer",
)

site = Path(sysconfig.get_path("purelib"))
for pattern in UNUSED:
    for path in list(site.rglob(pattern)):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
if "compile" in sys.argv:
    for module in USED:
        import_module(module)
