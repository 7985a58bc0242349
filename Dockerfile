# relay in a container: non-root, one volume for its data, one file for its configuration.
#   docker build -t relay .
# The configuration: `relay init ./relay --listen 0.0.0.0:2587 --data-dir /var/lib/relay …`, then
# `chown -R 587:587 ./relay`, since the user in the container must be able to read it.
#   docker run -v relay-data:/var/lib/relay -v ./relay:/etc/relay:ro -p 587:2587 relay
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY relay relay
RUN python -m venv /opt/relay && /opt/relay/bin/pip install --no-cache-dir '.[postgres]'

FROM python:3.13-slim
RUN groupadd --system --gid 587 relay \
    && useradd --system --uid 587 --gid relay --home-dir /var/lib/relay --create-home \
        --shell /usr/sbin/nologin relay \
    && chmod 0700 /var/lib/relay
COPY --from=build /opt/relay /opt/relay
ENV PATH=/opt/relay/bin:$PATH RELAY_CONFIG=/etc/relay/relay.yaml PYTHONUNBUFFERED=1
USER relay
VOLUME /var/lib/relay
EXPOSE 2587 2465 2580
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:2580/healthz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["relay"]
CMD ["serve"]
