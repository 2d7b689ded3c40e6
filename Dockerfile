# Two stages: build with the pinned toolchain, run with nothing but the binary, CA roots and a C library.
FROM rust:1.95.0-bookworm AS build
WORKDIR /src
# Dependencies first: this layer is built again only when they change.
COPY Cargo.toml Cargo.lock ./
COPY tests/bridge-front/Cargo.toml tests/bridge-front/
COPY tests/demo/Cargo.toml tests/demo/
COPY tests/testbed/Cargo.toml tests/testbed/
RUN for crate in . tests/bridge-front tests/demo tests/testbed; do \
      mkdir -p $crate/src && echo '//! Empty.' > $crate/src/lib.rs \
      && { echo '//! Empty.'; echo 'fn main() {}'; } > $crate/src/main.rs; \
    done \
 && cargo build --release --locked --bin scim-bridge-operator
COPY src src
# Newer than what the layer above has built.
RUN touch src/main.rs src/lib.rs && cargo build --release --locked --bin scim-bridge-operator

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="scim-bridge-operator" \
      org.opencontainers.image.description="Proves the connection to a 1Password SCIM Bridge, and keeps proving it" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /src/target/release/scim-bridge-operator /usr/local/bin/scim-bridge-operator
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/scim-bridge-operator"]
