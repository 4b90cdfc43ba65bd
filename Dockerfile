# ORL Explorer in a container. Without a GPU:
#
#   docker build -t orl-explorer .
#   docker run --rm --init -v orl:/workspace orl-explorer orl demo
#   docker run --rm --init --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --pids-limit 1024 \
#       --shm-size 2g -p 127.0.0.1:8501:8501 -v orl:/workspace -v /path/to/photos:/photos:ro -e ORL_PHOTO_ROOTS=/photos \
#       orl-explorer
#
# The explorer prints a link that logs you in. For a password of your own, mount a file with it and add
# -e ORL_PASSWORD_FILE=….
#
# With an NVIDIA GPU: build with --target cuda and run with --gpus all. --init reaps ended runs. --shm-size is memory
# for loader processes. EXTRAS names the optional packages of pyproject.toml to install: --build-arg EXTRAS=postgres,timm
#
# BASE has a tag, so that each build has Debian's newest fixes. To build the same image again, name its digest, which
# `docker buildx imagetools inspect python:3.11-slim-bookworm` prints: --build-arg BASE=python@sha256:….
# Nothing is installed from Debian: the base has all libraries that the wheels link against, so there is nothing to pin.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS base
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    XDG_CACHE_HOME=/workspace/.cache \
    ORL_WORKSPACE=/workspace
RUN useradd --uid 1000 --create-home orl && install -d -o orl -g orl /workspace
WORKDIR /workspace
VOLUME /workspace
EXPOSE 8501
# Asks the explorer under its own port, path and certificate. A container with another command counts as healthy.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["python", "-P", "-m", "orl_explorer.app.server.health"]
CMD ["orl", "explore", "--host", "0.0.0.0"]

# What to install. OpenCV comes without windows, which need Mesa and LLVM; the metadata of the project say so too, so
# that `pip check` can tell whether anything is missing. Wheels only: no package runs code of its own while it is
# installed. There are no hashes: torch comes from an index of choice, whose builds of one version differ, and pip checks
# the hashes of all packages or of none. PyPI never lets a file of a version be replaced.
FROM base AS project
ARG EXTRAS=postgres,oidc
WORKDIR /src
COPY pyproject.toml constraints.txt ./
RUN sed -i 's/opencv-contrib-python/&-headless/' pyproject.toml constraints.txt \
    && mkdir /lists \
    && grep -E '^torch(vision)?==' constraints.txt > /lists/torch.txt \
    && cp constraints.txt /lists \
    && EXTRAS="${EXTRAS}" python -c "import os, tomllib; \
p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
extras = filter(None, os.environ['EXTRAS'].split(',')); \
print(*p['dependencies'], *(r for e in extras for r in p['optional-dependencies'][e]), sep='\n')" \
        > /lists/requirements.txt
COPY README.md LICENSE setup.py ./
COPY orl ./orl
COPY db ./db
COPY train ./train
COPY app ./app
COPY orl_explorer ./orl_explorer
# The build backend in the pinned version, for pip before and since 25.3.
RUN PIP_CONSTRAINT=/src/constraints.txt PIP_BUILD_CONSTRAINT=/src/constraints.txt \
        pip install --no-deps --prefix /project .

# The two images. In each, the layer that changes least comes first: torch with CUDA's packages, which have 5 GB, then the
# other packages, then the project.
FROM base AS cuda
ARG CUDA_INDEX=https://pypi.org/simple
COPY deploy/slim.py /lists/
COPY --from=project /lists/torch.txt /lists/
RUN pip install --no-compile --only-binary :all: --index-url "${CUDA_INDEX}" -r /lists/torch.txt \
    && python /lists/slim.py
COPY --from=project /lists /lists
RUN pip install --no-compile --only-binary :all: -c /lists/constraints.txt -r /lists/requirements.txt \
    && python /lists/slim.py compile
COPY --from=project /project /usr/local
RUN pip check
USER 1000

FROM base AS cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY deploy/slim.py /lists/
COPY --from=project /lists/torch.txt /lists/
RUN pip install --no-compile --only-binary :all: --no-deps --index-url "${TORCH_INDEX}" -r /lists/torch.txt \
    && python /lists/slim.py
COPY --from=project /lists /lists
RUN pip install --no-compile --only-binary :all: -c /lists/constraints.txt -r /lists/requirements.txt \
    && python /lists/slim.py compile
COPY --from=project /project /usr/local
RUN pip check
USER 1000
