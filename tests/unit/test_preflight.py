"""What can be said of a bootstrap without asking AWS."""

from __future__ import annotations

import pytest

from airflow_eks_dask.preflight.quotas import vcpu_quota
from airflow_eks_dask.preflight.wanted import Wanted


def problems(**wanted):
    return Wanted(**{"cluster_name": "pipelines", **wanted}).problems()


def test_a_name_is_enough():
    assert problems() == []


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"zones": 1}, "zones = 1: must be 2 or 3"),
        ({"availability_zones": ["eu-central-1a"]}, "availability_zones: must be as many as zones says"),
        ({"nat_gateways": "many"}, "nat_gateways = 'many'"),
        ({"max_nodes": -1}, "max_nodes = -1: must be 0 or more"),
        ({"cidr": "10.0.0.0/8"}, "cidr = '10.0.0.0/8': must be from /16"),
        ({"cidr": "10.0.0.0/16", "vpc_id": "vpc-01234567"}, "give either cidr"),
        ({"service_cidr": "10.0.0.0/25"}, "must be from /12 to /24"),
        ({"service_cidr": "8.8.8.0/24"}, "must be within 10.0.0.0/8"),
        ({"cidr": "10.0.0.0/16", "service_cidr": "10.0.8.0/24"}, "overlaps cidr"),
        ({"public_access_cidrs": ["here"]}, "public_access_cidrs = 'here'"),
        ({"database_identifier": "9"}, "database_identifier"),
    ],
)
def test_each_problem_is_told(wanted, problem):
    (told,) = problems(**wanted)
    assert problem in told


def test_all_problems_are_told_at_once():
    told = problems(cluster_name="-", zones=0, cidr="x", service_cidr="y", instance_types=["a", "b.c"])
    for start in ("cluster_name = '-'", "zones = 0", "cidr = 'x'", "service_cidr = 'y'", "instance_types = 'a'"):
        assert any(each.startswith(start) for each in told)
    assert len(told) == len(set(told))


@pytest.mark.parametrize(
    ("instance_type", "on_demand", "spot"),
    [
        ("m7i.large", "L-1216C47A", "L-34B43A08"),
        ("im4gn.large", "L-1216C47A", "L-34B43A08"),
        ("g5.xlarge", "L-DB2E81BA", "L-3819A6DF"),
        ("inf2.xlarge", "L-1945791B", "L-B5D1601B"),
        ("trn1.2xlarge", "L-2C3B7624", "L-6B0D517C"),
        ("hpc7a.12xlarge", "L-F7808C92", ""),
        ("u-6tb1.metal", "L-43DA4232", ""),
        ("mac2.metal", "L-1216C47A", "L-34B43A08"),
        ("q1.large", "", ""),
    ],
)
def test_the_quota_that_counts_for_an_instance_type(instance_type, on_demand, spot):
    assert (vcpu_quota(instance_type, spot=False), vcpu_quota(instance_type, spot=True)) == (on_demand, spot)
