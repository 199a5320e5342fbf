"""What is told while waiting, and how long an AWS that does not answer is waited for."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, NoCredentialsError

from airflow_eks_dask.resources.base import Progress, State
from airflow_eks_dask.resources.waiting import Watcher

TIMEOUT = ConnectTimeoutError(endpoint_url="https://eks.eu-central-1.amazonaws.com")


class Answers:
    """A resource whose progress is what is said beforehand."""

    kind, name = "EKS cluster", "pipelines"

    def __init__(self, *answers: Progress | Exception) -> None:
        self.left = list(answers)

    def progress(self, _: object) -> Progress:
        answer = self.left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, *args: object) -> None:
        self.lines.append(message % args)


def client_error(code: str, status: int) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "DescribeCluster")


def watcher(*answers: Progress | Exception) -> tuple[Watcher, Log]:
    log = Log()
    return Watcher(Answers(*answers), None, log), log


def test_what_was_told_is_not_told_again():
    watch, log = watcher(*[Progress(State.PENDING, ("CREATING",))] * 3, Progress(State.READY, ("ACTIVE",)))
    assert [watch.look().state for _ in range(4)] == [State.PENDING] * 3 + [State.READY]
    assert log.lines == ["EKS cluster pipelines: CREATING", "EKS cluster pipelines: ACTIVE"]


@pytest.mark.parametrize(
    "error", [TIMEOUT, client_error("ThrottlingException", 400), client_error("InternalError", 500)]
)
def test_an_aws_that_has_too_much_to_do_is_asked_again(error):
    watch, _ = watcher(error, Progress(State.READY))
    assert [watch.look().state, watch.look().state] == [State.PENDING, State.READY]


@pytest.mark.parametrize("error", [NoCredentialsError(), client_error("AccessDeniedException", 403)])
def test_what_does_not_pass_is_raised_at_once(error):
    with pytest.raises(type(error)):
        watcher(error)[0].look()


def test_an_aws_out_of_reach_is_not_asked_for_ever():
    watch, _ = watcher(*[TIMEOUT] * 10, Progress(State.PENDING), *[TIMEOUT] * 11)
    for _ in range(21):
        assert watch.look().state is State.PENDING
    with pytest.raises(ConnectTimeoutError):
        watch.look()
