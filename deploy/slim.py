"""Take out of an image what nothing runs, a fifth of it: tests and headers of packages, and bytecode of unused modules.

Run in each layer that installs packages without compiling them. In the last one, "compile" imports the modules that the
explorer and its runs use: that leaves their bytecode, so that containers, which cannot write there, start fast. Any
other module is compiled when it is needed.
"""

import shutil
import sys
import sysconfig
from importlib import import_module
from pathlib import Path

UNUSED = ("tests", "test", "include")  # folders
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
for folder in [path for path in site.rglob("*") if path.name in UNUSED]:
    if folder.is_dir():
        shutil.rmtree(folder)
for program in (site / "torch" / "bin").glob("*"):
    if program.is_file() and program.name != "torch_shm_manager":  # through which loader processes share memory
        program.unlink()
if "compile" in sys.argv:
    for module in USED:
        import_module(module)
