# syntax=docker/dockerfile:1
# One image for every function: FUNCTION_TARGET says which one an instance is.
#   docker build -t pitboss .
#   docker run -e FUNCTION_TARGET=score -p 127.0.0.1:8080:8080 pitboss
FROM golang:1.26-bookworm AS build
# npm only fetches the ONNX Runtime library's archive; nothing of it is run.
RUN apt-get update && apt-get install -y --no-install-recommends npm && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY scripts/onnxruntime.sh scripts/
RUN mkdir -p /func/lib && cp "$(scripts/onnxruntime.sh)" /func/lib/libonnxruntime.so.1
COPY . .
RUN CGO_ENABLED=1 scripts/go-build.sh -o /func/pitboss ./functions/serve && \
    scripts/go-build.sh -o /func/cli ./internal/cli/pitboss && cp -r models /func/models && rm -rf /func/models/train

# glibc, libstdc++ and libgcc for ONNX Runtime; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /func /func
WORKDIR /func
USER 65532:65532
# LISTEN_ADDRESS: a function listens on loopback unless told otherwise, and
# Knative's PORT tells nothing of the address; probes come from outside the pod.
# func's host builder sets the same.
# MALLOC_ARENA_MAX: bounds memory over model reloads. The library is a build
# without telemetry; the switch is set all the same.
ENV LISTEN_ADDRESS=[::]:8080 MODELS_DIR=/func/models ONNXRUNTIME_LIB=/func/lib/libonnxruntime.so.1 \
    ORT_DISABLE_TELEMETRY=1 MALLOC_ARENA_MAX=1
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/func/pitboss"]
