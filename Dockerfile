# PostgreSQL, PostgREST and nginx with eikon_features, in one container:
#
#	docker build -t eikon .
#	docker run -p 5000:5000 -v "$PWD/data:/data:ro" -v eikon:/var/lib/eikon_features eikon
#
# deploy/container/start.sh says what there is to set; compose.yaml has three containers.

# For a build that can be repeated, name the base by its digest, as in
# --build-arg DEBIAN_TAG=bookworm-slim@sha256:96e378d7e6531ac9a15ad505478fcc2e69f371b10f5cdf87857c4b8188404716
# ("docker buildx imagetools inspect debian:bookworm-slim" says which it is today).
ARG DEBIAN_TAG=bookworm-slim

FROM debian:${DEBIAN_TAG} AS build
# Swagger UI comes from the Debian package that has it; the rest of R stays where it is.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        gcc libc6-dev libcsv-dev libxxhash-dev libzstd-dev make postgresql-server-dev-15 zlib1g-dev \
 && cd /tmp \
 && apt-get download r-cran-swagger \
 && dpkg-deb -x r-cran-swagger_*.deb /swagger \
 && rm -rf /var/lib/apt/lists/* r-cran-swagger_*.deb
COPY Makefile eikon_features.control eikon_api.control /build/
COPY src /build/src
COPY sql /build/sql
COPY web/result.html /build/web/result.html
RUN make -C /build -j "$(nproc)" with_llvm=no all \
 && make -C /build with_llvm=no install DESTDIR=/out
# What needs no compiler comes after it, so that a change of these builds nothing anew.
COPY web /build/web
COPY bin /build/bin
COPY deploy /build/deploy
RUN make -C /build install-http DESTDIR=/out \
 && rm -rf /out/usr/lib/systemd /out/usr/lib/sysusers.d \
 && cd /swagger/usr/lib/R/site-library/swagger/dist3 \
 && cp swagger-ui.css swagger-ui-bundle.js swagger-ui-standalone-preset.js favicon-32x32.png /out/usr/share/eikon_features/web/docs/ \
 && cp /build/deploy/nginx.conf /out/usr/share/eikon_features/ \
 && cp -R /build/deploy/container /out/usr/share/eikon_features/

FROM debian:${DEBIAN_TAG}
# What is excluded is half of the size, and of no use here: the compiler that PostgreSQL
# keeps for expressions, its copy of itself in that one's language, the sources of locales.
# postgresql-common comes first, to be told not to make a cluster of its own.
RUN groupadd -r -g 999 postgres \
 && useradd -r -u 999 -g postgres -d /var/lib/postgresql -s /bin/bash postgres \
 && printf 'path-exclude %s\n' \
        '/usr/lib/*/libLLVM-*' '/usr/lib/llvm-*' '/usr/lib/*/libz3.so*' \
        '/usr/share/i18n/*' '/usr/lib/postgresql/*/lib/llvmjit*' '/usr/lib/postgresql/*/lib/bitcode/*' \
        > /etc/dpkg/dpkg.cfg.d/eikon_features \
 && apt-get update \
 && export DEBIAN_FRONTEND=noninteractive \
 && apt-get install -y --no-install-recommends postgresql-common \
 && mkdir -p /etc/postgresql-common/createcluster.d \
 && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.d/no-main.conf \
 && apt-get install -y --no-install-recommends \
        curl jose jq libcsv3 libxxhash0 libzstd1 nginx-light postgresql-15 postgresql-15-cron s6 zlib1g \
 && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/* \
 && install -d -o postgres -g postgres -m 700 /var/lib/eikon_features /var/lib/eikon_features/keys \
 && install -d -o postgres -g postgres -m 750 /run/eikon_features /run/postgrest
COPY --from=postgrest/postgrest:v12.0.2 /bin/postgrest /usr/bin/postgrest
COPY --from=build /out/ /
COPY data /data

ENV PATH=/usr/lib/postgresql/15/bin:$PATH LANG=C.UTF-8 \
    EIKON_STATE_DIR=/var/lib/eikon_features PGDATABASE=eikon PGUSER=postgres
USER postgres
WORKDIR /tmp
VOLUME /var/lib/eikon_features
EXPOSE 5000 5432
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10m CMD ["/usr/share/eikon_features/container/health"]
ENTRYPOINT ["/usr/share/eikon_features/container/start.sh"]
