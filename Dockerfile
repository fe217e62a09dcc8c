# The stock stack, frozen: fairseq 0.12.2 on Python 3.10, with the versions of constraints/stock.txt.
#
#   docker build -t maskspec .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" maskspec maskspec-build demo --out data/demo
#
# docs/install.md
FROM python:3.10-slim-bookworm AS build

# fairseq 0.12.2 and its dependencies come as source for this Python, in part in C++
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install -y --no-install-recommends build-essential && \
    rm -rf /var/lib/apt/lists/*

RUN python -m venv /opt/maskspec
ENV PATH=/opt/maskspec/bin:$PATH

WORKDIR /src
COPY constraints/stock.txt constraints/
COPY setup.py pyproject.toml MANIFEST.in README.md CHANGELOG.md CITATION.cff LICENSE ./
COPY config config
COPY weights weights
COPY maskspec_fairseq maskspec_fairseq
# pip 24.1 and newer refuse the metadata of omegaconf 2.0.6; every version is in constraints/stock.txt
# hadolint ignore=DL3013
RUN python -m pip install --no-cache-dir "pip<24.1" && \
    python -m pip install --no-cache-dir -c constraints/stock.txt ".[fairseq]"

FROM python:3.10-slim-bookworm
COPY --from=build /opt/maskspec /opt/maskspec
# caches of Hydra's and matplotlib's kind go to a place that any --user can write to
ENV PATH=/opt/maskspec/bin:$PATH \
    HOME=/tmp
USER 65534:65534
WORKDIR /work
CMD ["maskspec-recipes", "--help"]
