# ORL Explorer in a container. Without a GPU:
#
#   docker build -t orl-explorer .
#   docker run --rm -v orl:/workspace orl-explorer orl demo
#   docker run --rm --init --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --pids-limit 1024 \
#       --shm-size 2g -p 127.0.0.1:8501:8501 -v orl:/workspace -v /path/to/photos:/photos:ro -e ORL_PHOTO_ROOTS=/photos \
#       orl-explorer
#
# The explorer prints a link that logs you in. For a password of your own, mount a file with it and add
# -e ORL_PASSWORD_FILE=….
#
# With an NVIDIA GPU: build with --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 (or, for PyPI's build,
# https://pypi.org/simple) and run with --gpus all. --init reaps ended runs. --shm-size is memory for loader processes.
#
# BASE has a tag, so that each build has Debian's newest fixes. To build the same image again, name its digest, which
# `docker buildx imagetools inspect python:3.11-slim-bookworm` prints: --build-arg BASE=python@sha256:….
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}

# OpenCV links against these two. They are not pinned, because Debian removes a version when it publishes a fix.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    XDG_CACHE_HOME=/workspace/.cache

WORKDIR /src

# The layer that changes least comes first: torch, the other packages, the project. Wheels only: no package runs code of
# its own while it is installed. There are no hashes: torch comes from an index of choice, whose builds of one version
# differ, and pip checks the hashes of all packages or of none. PyPI never lets a file of a version be replaced.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY constraints.txt ./
RUN pip install --only-binary :all: --no-deps --index-url "${TORCH_INDEX}" -c constraints.txt torch torchvision

COPY pyproject.toml ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > requirements.txt \
    && pip install --only-binary :all: -c constraints.txt -r requirements.txt

COPY README.md LICENSE setup.py ./
COPY orl ./orl
COPY db ./db
COPY train ./train
COPY app ./app
COPY orl_explorer ./orl_explorer
# The build backend in the pinned version, for pip before and since 25.3.
RUN PIP_CONSTRAINT=/src/constraints.txt PIP_BUILD_CONSTRAINT=/src/constraints.txt pip install --no-deps .

RUN useradd --uid 1000 --create-home orl && install -d -o orl -g orl /workspace
USER 1000
ENV ORL_WORKSPACE=/workspace
VOLUME /workspace
WORKDIR /workspace

EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
CMD ["orl", "explore", "--host", "0.0.0.0"]
