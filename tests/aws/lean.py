"""What moto builds for each new account, cut down to what is used: a thousand policies and images take a second."""

from __future__ import annotations

import json
import os
import re

from moto.iam import models

_POLICIES = re.compile("Amazon(EBS|EC2ContainerRegistry|EKS|S3|SSM)")


def install() -> None:
    """Have each account begin with a few of AWS's policies and no images."""
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    policies = json.loads(models.aws_managed_policies_data)
    models.aws_managed_policies_data = json.dumps({n: p for n, p in policies.items() if _POLICIES.match(n)})
