# An image of the example `shutdown`, without a shell and without root:
#
#   docker build -f crates/mocha-session/examples/shutdown.Dockerfile -t shop .
#   docker run -p 8080:8080 -e SESSION_URL=redis://redis:6379/0 shop
FROM rust:1-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --locked --release -p mocha-session --example shutdown --features redis,postgres,sqlite

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /source/target/release/examples/shutdown /shutdown
ENV HOST=0.0.0.0 PORT=8080
EXPOSE 8080
ENTRYPOINT ["/shutdown"]
