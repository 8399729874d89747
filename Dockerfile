# dann-search on a machine or a Kubernetes cluster, as the user ray, with the versions of docs/cluster/nodes.txt.
#
#   docker build -t REGISTRY/dann-search:0.1.0 .                                            # CPU
#   docker build -t REGISTRY/dann-search:0.1.0 \
#     --build-arg BASE=rayproject/ray:2.60.0-py311-gpu --build-arg TORCH=cu130 .            # CUDA
#   docker run --rm --shm-size=2g -v "$PWD/runs:/home/ray/runs" \
#     REGISTRY/dann-search:0.1.0 dann-search launch quickstart
#
# Secrets go into no layer: give them to the container when it runs (--env-file, a Kubernetes secret).
ARG BASE=rayproject/ray:2.60.0-py311-cpu

FROM ${BASE} AS build
COPY --chown=ray:users . /home/ray/source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /home/ray/dist /home/ray/source

FROM ${BASE}
# PyTorch's build: cpu, or CUDA's of the base image, such as cu130.
ARG TORCH=cpu
COPY docs/cluster/nodes.txt /home/ray/nodes.txt
COPY --from=build /home/ray/dist /home/ray/dist
RUN pip install --no-cache-dir uv==0.13.9 \
 && uv pip install --system --no-cache --torch-backend "${TORCH}" --constraint /home/ray/nodes.txt \
      "$(ls /home/ray/dist/*.whl)[cluster,s3,gcs,timm,cmaes,report,onnx]"
USER ray
WORKDIR /home/ray
CMD ["dann-search", "--help"]
