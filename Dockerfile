# Two stages: the first builds with the pinned toolchain. The second has only the binary, a C library and CA roots.
#
# For docker (BuildKit), podman and buildah. Without --platform the image is for this machine. With
# --platform linux/amd64,linux/arm64 it is for both. The compiler always runs natively. For the other architecture it
# cross-compiles. So the build emulates nothing, and runs no step in the final image.
#
# The base images have tags here. To build from known base images, give their digests, for instance with
# --build-context gcr.io/distroless/cc-debian12:nonroot=docker-image://gcr.io/distroless/cc-debian12@sha256:...

FROM --platform=$BUILDPLATFORM rust:1.95.0-bookworm AS build
WORKDIR /src
# The builder sets this. If it does not, the image is for the builder's architecture.
ARG TARGETARCH
# .cargo/config.toml sets the target. For the other architecture, install also a C compiler (for aws-lc) and Rust's
# standard library. Debian's C compilers have the same names on both architectures.
RUN case "${TARGETARCH:=$(dpkg --print-architecture)}" in \
      amd64) cpu=x86_64 gcc=gcc-x86-64-linux-gnu libc=libc6-dev-amd64-cross ;; \
      arm64) cpu=aarch64 gcc=gcc-aarch64-linux-gnu libc=libc6-dev-arm64-cross ;; \
      *) echo "$TARGETARCH is not supported: build for amd64 or arm64" >&2; exit 1 ;; \
    esac; \
    if [ "$TARGETARCH" != "$(dpkg --print-architecture)" ]; then \
      rustup target add $cpu-unknown-linux-gnu \
      && apt-get update --quiet && apt-get install --yes --no-install-recommends $gcc $libc \
      && rm -rf /var/lib/apt/lists/* || exit 1; \
    fi; \
    mkdir .cargo \
 && printf '%s\n' '[build]' "target = \"$cpu-unknown-linux-gnu\"" \
      "[target.$cpu-unknown-linux-gnu]" "linker = \"$cpu-linux-gnu-gcc\"" > .cargo/config.toml
# The dependencies. The builder repeats these two layers only when a Cargo.toml or Cargo.lock has changed.
COPY Cargo.toml Cargo.lock ./
COPY tests/bench/Cargo.toml tests/bench/
COPY tests/bridge-front/Cargo.toml tests/bridge-front/
COPY tests/demo/Cargo.toml tests/demo/
COPY tests/e2e/Cargo.toml tests/e2e/
COPY tests/testbed/Cargo.toml tests/testbed/
RUN for crate in . tests/*; do \
      mkdir $crate/src && echo '//! Empty.' > $crate/src/lib.rs \
      && { echo '//! Empty.'; echo 'fn main() {}'; } > $crate/src/main.rs || exit 1; \
    done; \
    # Panics, and C's assertions and errors, name source files. The binary must not show the folder of the registry or
    # mirror from which these files came. Short relocations save half a megabyte of memory. glibc reads them from 2.36
    # on, and the image below has that version.
    cargo fetch --locked \
 && { echo 'rustflags = ["-Clink-arg=-Wl,-z,pack-relative-relocs",'; printf '"--remap-path-prefix=%s=",\n' "$CARGO_HOME"/registry/src/*; echo ']'; \
      echo '[env]'; echo "CFLAGS = '$(printf -- ' -ffile-prefix-map=%s=' "$CARGO_HOME"/registry/src/*)'"; \
    } >> .cargo/config.toml
RUN cargo build --release --locked --bin scim-bridge-operator
# The operator itself. Cargo compares times, so these sources have to be newer than the build of the layer above.
COPY src src
# The program includes the runbooks.
COPY docs/reasons.md docs/
RUN touch src/main.rs src/lib.rs && cargo build --release --locked --bin scim-bridge-operator
# The time of the file, and with BuildKit also of the image. With it, the same sources always give the same layer.
ARG SOURCE_DATE_EPOCH=0
RUN cp target/*/release/scim-bridge-operator / && touch --date="@$SOURCE_DATE_EPOCH" /scim-bridge-operator

# glibc, for its resolver (search domains, options, TCP), libgcc, and Debian's CA roots in /etc/ssl/certs. No shell.
FROM gcr.io/distroless/cc-debian12:nonroot
# 'make generate' writes VERSION from Cargo.toml, and a test fails if it differs.
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="scim-bridge-operator" \
      org.opencontainers.image.description="Proves the connection to a 1Password SCIM Bridge, and keeps proving it" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot"
COPY --from=build /scim-bridge-operator /scim-bridge-operator
# A number, because Kubernetes cannot see from a name whether it is root.
USER 65532:65532
EXPOSE 8080
# On SIGTERM the operator drains, releases the Lease and ends. The image has no HEALTHCHECK, because it has no program
# to ask with. Ask for health by HTTP on the port above.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/scim-bridge-operator"]
