"""All of EKS, where moto looks for it."""

from __future__ import annotations

from moto.eks.models import eks_backends

from tests.aws.eks.access import AccessEntries, PodIdentities
from tests.aws.eks.addons import Addons
from tests.aws.eks.clusters import Clusters
from tests.aws.eks.nodegroups import Nodegroups


class EksBackend(AccessEntries, PodIdentities, Clusters, Nodegroups, Addons):
    """Every operation, each from the class that is about its kind of thing."""


def install() -> None:
    """Take the place of moto's."""
    eks_backends.backend = EksBackend
