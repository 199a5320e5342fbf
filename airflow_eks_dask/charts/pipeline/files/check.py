"""What ``helm test`` runs: whether the cluster computes, and for whom it does not."""

from __future__ import annotations

import json
import logging
import os
import platform
import socket
import ssl
import time
import urllib.request
from collections import Counter
from urllib.parse import urlsplit

from distributed import Client

log = logging.getLogger("check")

CONNECT_TIMEOUT = 10.0
ANSWER_TIMEOUT = 60.0


def main() -> None:
    """
    Check the cluster that the environment describes.

    ``SCHEDULER``: its address. ``WORKERS``: a JSON object with the least number of workers whose names begin so.
    ``EXECUTION_API_URL``: what they have to reach. ``TIMEOUT``: seconds until they have to be there.
    """
    address, timeout = os.environ["SCHEDULER"], float(os.environ["TIMEOUT"])
    try:
        with Client(address, timeout=timeout, name="helm-test") as client:
            if address.startswith("tls://"):
                refuses_strangers(address)
                log.info("The scheduler refuses clients without TLS or without a certificate")
            client.get_versions(check=True)
            workers = wait_for_workers(client, json.loads(os.environ["WORKERS"]), time.monotonic() + timeout)
            compute(client, workers, os.environ["EXECUTION_API_URL"].rstrip("/") + "/health")
    except OSError as error:
        raise SystemExit(f"{address}: {error.__cause__ or error}") from error
    log.info("%d workers compute, and reach Airflow's execution API", len(workers))


def refuses_strangers(address: str) -> None:
    """
    Try to get in without TLS, and without a certificate.

    :raises SystemExit: One of them was let in.
    :raises OSError: The scheduler cannot be reached.
    """
    parts = urlsplit(address)
    host = (parts.hostname, parts.port or 8786)
    with socket.create_connection(host, timeout=CONNECT_TIMEOUT) as plain:
        try:
            plain.sendall(bytes(64))
            answer = plain.recv(1)
        except ConnectionError:
            answer = b""
    # Nothing, or an alert of TLS; without TLS, Dask introduces itself.
    if answer not in (b"", b"\x15"):
        raise SystemExit(f"{address} talks to clients without TLS")
    context = ssl.create_default_context(cafile=os.environ["DASK_DISTRIBUTED__COMM__TLS__CA_FILE"])
    context.check_hostname = False  # as Dask has it: the authority is the cluster's own
    try:
        with socket.create_connection(host, timeout=CONNECT_TIMEOUT) as raw, context.wrap_socket(raw) as encrypted:
            encrypted.recv(1)
    except (ssl.SSLError, ConnectionError) as error:
        if isinstance(error, ssl.SSLCertVerificationError):
            raise SystemExit(f"{address} shows a certificate of another authority: {error}") from None
        return
    raise SystemExit(f"{address} talks to clients without a certificate")


def wait_for_workers(client: Client, wanted: dict[str, int], deadline: float) -> dict[str, str]:
    """
    Return the addresses of the workers by name, once there are enough.

    :param wanted: How many at least, by the beginning of their names.
    :raises SystemExit: They are not there in time.
    """
    while True:
        workers = {str(worker["name"]): address for address, worker in client.scheduler_info(-1)["workers"].items()}
        found = Counter(prefix for name in workers for prefix in wanted if name.startswith(prefix))
        missing = {prefix: number for prefix, number in wanted.items() if found[prefix] < number}
        if not missing and workers:
            return workers
        if time.monotonic() > deadline:
            said = ", ".join(f"{found[prefix]} of {number} {prefix}..." for prefix, number in missing.items())
            raise SystemExit(f"Workers have not come in time: there are {said or 'none'}. Their logs say why")
        time.sleep(1)


def look_around(url: str) -> tuple[str, str]:
    """Return where this runs, and what keeps the URL from being read."""
    try:
        context = ssl.create_default_context(cafile=os.environ.get("AIRFLOW__API__SSL_CERT"))
        with urllib.request.urlopen(url, timeout=CONNECT_TIMEOUT, context=context):  # noqa: S310 - the chart gives it
            return platform.node(), ""
    except OSError as error:
        return platform.node(), str(error)


def compute(client: Client, workers: dict[str, str], url: str) -> None:
    """
    Run something on each worker, and bring together what comes of it.

    :raises SystemExit: Something went wrong.
    """
    futures = [
        client.submit(look_around, url, workers=[address], allow_other_workers=False, pure=False)
        for address in workers.values()
    ]
    problems = [f"{host}: {problem}" for host, problem in client.gather(futures) if problem]
    if problems:
        raise SystemExit(f"{url} is not reached, and no task runs without it, from " + "; ".join(problems))
    squares = client.map(pow, range(100), [2] * 100, pure=False)
    total = client.submit(sum, squares, pure=False).result(timeout=ANSWER_TIMEOUT)
    if total != sum(number**2 for number in range(100)):
        raise SystemExit(f"The workers have computed {total}, which is wrong")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
