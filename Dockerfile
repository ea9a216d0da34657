# PostgreSQL with eikon_features, as one service.
#
#	docker build -t eikon_features .
#	docker run -d --name eikon -v /srv/drops:/data:ro -v eikon:/var/lib/eikon_features eikon_features
#	docker exec -it eikon psql eikon
#
# At first start the files of /data (the sample, unless a directory is mounted)
# are loaded. The server is reached from outside the container only when
# EIKON_PASSWORD or EIKON_PASSWORD_FILE gives the user postgres a password;
# deploy/container.sh says more.

ARG DEBIAN_TAG=bookworm-slim

FROM debian:${DEBIAN_TAG} AS build
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        gcc libc6-dev libcsv-dev libxxhash-dev libzstd-dev make postgresql-server-dev-15 zlib1g-dev \
 && rm -rf /var/lib/apt/lists/*
COPY Makefile eikon_features.control eikon_api.control /build/
COPY src /build/src
COPY sql /build/sql
COPY web/result.html /build/web/result.html
RUN make -C /build -j "$(nproc)" with_llvm=no all \
 && make -C /build with_llvm=no install DESTDIR=/out

FROM debian:${DEBIAN_TAG}
# postgresql-common first, to tell it not to make a cluster of its own.
RUN apt-get update \
 && export DEBIAN_FRONTEND=noninteractive \
 && apt-get install -y --no-install-recommends postgresql-common \
 && mkdir -p /etc/postgresql-common/createcluster.d \
 && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.d/no-main.conf \
 && apt-get install -y --no-install-recommends postgresql-15 libcsv3 libxxhash0 libzstd1 zlib1g \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o postgres -g postgres -m 700 /var/lib/eikon_features
COPY --from=build /out/ /
COPY data /data
COPY deploy/container.sh /usr/local/bin/eikon-container

ENV PATH=/usr/lib/postgresql/15/bin:$PATH LANG=C.UTF-8
USER postgres
VOLUME /var/lib/eikon_features
EXPOSE 5432
# The fast shutdown: sessions are ended, data are safe, and the exit code is 0.
STOPSIGNAL SIGINT
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["pg_isready", "-q"]
ENTRYPOINT ["bash", "/usr/local/bin/eikon-container"]
