"""Policy documents are compared by what they mean."""

from __future__ import annotations

import pytest

from airflow_eks_dask.resources.policy_document import is_same


def document(**statement):
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (document(Action="s3:GetObject"), document(Action=["s3:GetObject"])),
        (document(Action=["a:B", "a:C"]), document(Action=["a:c", "A:B", "a:B"])),
        (document(Resource=["x", "y"]), document(Resource=["y", "x"])),
        (document(Sid="One"), document(Sid="Two")),
        (document(Principal="*"), document(Principal={"AWS": ["*"]})),
        (document(Principal={"AWS": "arn:aws:iam::123456789012:root"}), document(Principal={"AWS": "123456789012"})),
        (document(), {"Version": "2012-10-17", "Statement": {"Effect": "Allow"}}),
        (
            document(Condition={"Bool": {"aws:SecureTransport": False}}),
            document(Condition={"bool": {"AWS:securetransport": ["false"]}}),
        ),
        ({"Statement": []}, {"Version": "2008-10-17", "Statement": []}),
        (None, {}),
    ],
)
def test_another_spelling_is_the_same(one, other):
    assert is_same(one, other)
    assert is_same(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (document(Action="s3:GetObject"), document(NotAction="s3:GetObject")),
        (document(Action="s3:GetObject"), document(Action=["s3:GetObject", "s3:PutObject"])),
        (document(Resource="bucket/Key"), document(Resource="bucket/key")),
        (document(Principal={"AWS": "123456789012"}), document(Principal={"Service": "123456789012"})),
        (document(), document(Effect="Deny")),
        (
            document(Condition={"StringEquals": {"a:x": "1", "a:y": "2"}}),
            document(Condition={"StringEquals": {"a:y": "2"}}),
        ),
        (
            document(Condition={"StringEquals": {"a:x": "one"}}),
            document(Condition={"StringEquals": {"a:x": "ONE"}}),
        ),
        (document(), {**document(), "Version": "2008-10-17"}),
        (document(), None),
    ],
)
def test_another_meaning_is_another(one, other):
    assert not is_same(one, other)
    assert not is_same(other, one)


def test_the_order_of_statements_does_not_matter():
    statements = [{"Effect": "Allow", "Action": "a:B"}, {"Effect": "Deny", "Action": "a:C"}]
    assert is_same({"Statement": statements}, {"Statement": statements[::-1]})
