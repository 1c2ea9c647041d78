# The server and the client, built in one image and run in a small one.
FROM swift:6.3-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        libnghttp2-dev libprotobuf-c-dev libpq-dev zlib1g-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Package.swift ./
COPY Sources Sources
COPY Tests Tests
RUN swift build -c release --static-swift-stdlib --product contactsd \
    && swift build -c release --static-swift-stdlib --product contacts \
    && cp "$(swift build -c release --show-bin-path)/contactsd" \
          "$(swift build -c release --show-bin-path)/contacts" /usr/local/bin/

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        libnghttp2-14 libprotobuf-c1 libpq5 zlib1g ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --no-create-home contacts
COPY --from=build /usr/local/bin/contactsd /usr/local/bin/contacts /usr/local/bin/
USER contacts
# Others can reach this, so it wants CONTACTS_TLS_CERTIFICATE and CONTACTS_TLS_KEY, or
# CONTACTS_CLEAR_TEXT=1.
ENV CONTACTS_LISTEN=0.0.0.0:50051
EXPOSE 50051
# SIGTERM drains: running transactions commit and are answered.
STOPSIGNAL SIGTERM
ENTRYPOINT ["contactsd"]
CMD ["serve"]
