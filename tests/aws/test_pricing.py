"""What things cost in a month: asked of AWS, and unknown where it doesn't say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.parsers import ResponseParserError

from airflow_eks_dask.hooks.aws import AwsClients
from airflow_eks_dask.hooks.pricing import Prices
from airflow_eks_dask.operators.resource import EnsureOperator
from airflow_eks_dask.resources import cost
from airflow_eks_dask.resources.iam_role import IamRole
from tests.aws.answers import answer

HOURS = cost.HOURS_PER_MONTH


def entry(usage, price, *, unit="Hrs", **attributes):
    """Return an entry of AWS's price list, as the Pricing API gives it."""
    tiers = price if isinstance(price, dict) else {"0": price}
    dimensions = {
        f"SKU.TERM.{begin}": {"unit": unit, "beginRange": begin, "pricePerUnit": {"USD": f"{amount:.10f}"}}
        for begin, amount in tiers.items()
    }
    return {
        "product": {"sku": "SKU", "attributes": {"usagetype": usage, **attributes}},
        "terms": {"OnDemand": {"SKU.TERM": {"priceDimensions": dimensions}}, "Reserved": {}},
    }


@pytest.fixture
def price_list(aws):
    """A list to put entries into, and all requests for them."""
    entries, pages = [], 2

    def respond(**asked):
        start = int(asked.get("NextToken", 0))
        more = {"NextToken": str(start + pages)} if start + pages < len(entries) else {}
        return {"FormatVersion": "aws_v1", "PriceList": [json.dumps(each) for each in entries[start:][:pages]], **more}

    entries_asked = answer(aws, "pricing", "GetProducts", respond, "us-east-1")
    return entries, entries_asked


def test_a_price_is_asked_for_by_region_and_attributes(aws, price_list):
    entries, asked = price_list
    entries.append(entry("EUC1-BoxUsage:m5.large", 0.115))
    assert Prices(aws).monthly([cost.instances("m5.large", 2)]) == round(0.115 * 2 * HOURS, 2)
    assert asked[0]["ServiceCode"] == "AmazonEC2"
    filters = {each["Field"]: each["Value"] for each in asked[0]["Filters"]}
    assert filters["regionCode"] == "eu-central-1"
    assert filters["instanceType"] == "m5.large"
    assert filters["tenancy"] == "Shared"


def test_of_several_products_that_with_the_usage_counts(aws, price_list):
    entries, _ = price_list
    entries += [
        entry("EUC1-DedicatedUsage:m5.large", 0.2),
        entry("EUC1-HostBoxUsage:m5.large", 0.0),
        entry("EUC1-BoxUsage:m5.large", 0.115),
    ]
    assert Prices(aws).monthly([cost.instances("m5.large", 1)]) == round(0.115 * HOURS, 2)


@pytest.mark.parametrize("usage", ["NatGateway-Hours", "EUC1-NatGateway-Hours"])
def test_regions_may_have_a_prefix(aws, price_list, usage):
    entries, _ = price_list
    entries += [entry(usage, 0.05), entry("EUC1-PublicIPv4:InUseAddress", {"0": 0.005})]
    assert Prices(aws).monthly(cost.nat_gateways(3)) == round(3 * 0.055 * HOURS, 2)


def test_of_several_tiers_the_first_counts(aws, price_list):
    entries, _ = price_list
    entries.append(entry("EUC1-EBS:VolumeUsage.gp3", {"0": 0.1, "1000": 0.01}, unit="GB-Mo"))
    assert Prices(aws).monthly([cost.volumes(50)]) == 5


@pytest.mark.parametrize("multi_az", [False, True])
def test_a_database_is_its_hours_and_its_storage(aws, price_list, multi_az):
    entries, asked = price_list
    entries += [
        entry("EUC1-InstanceUsage:db.t4g.small", 0.04),
        entry("EUC1-Multi-AZUsage:db.t4g.small", 0.08),
        entry("EUC1-RDS:GP3-Storage", 0.14),
        entry("EUC1-RDS:Multi-AZ-GP3-Storage", 0.28),
    ]
    wanted = cost.postgres("db.t4g.small", 20, multi_az=multi_az)
    factor = 2 if multi_az else 1
    assert Prices(aws).monthly(wanted) == round(factor * (0.04 * HOURS + 0.14 * 20), 2)
    deployments = [
        each["Value"] for request in asked for each in request["Filters"] if each["Field"] == "deploymentOption"
    ]
    assert set(deployments) == {"Multi-AZ" if multi_az else "Single-AZ"}


def test_a_cluster_costs_its_control_plane(aws, price_list):
    entries, _ = price_list
    entries += [entry("EUC1-AmazonEKS-Hours:perCluster", 0.1), entry("EUC1-AmazonEKS-Hours:extendedSupport", 0.5)]
    assert Prices(aws).monthly([cost.cluster_control_plane()]) == 73


def test_nothing_costs_nothing(aws):
    assert Prices(aws).monthly([]) == 0


def test_no_price_is_unknown(aws, price_list):
    assert Prices(aws).monthly([cost.cluster_control_plane()]) is None


def test_several_prices_are_unknown(aws, price_list):
    entries, _ = price_list
    entries += [entry("NatGateway-Hours", 0.05), entry("EUC1-NatGateway-Hours", 0.06)]
    assert Prices(aws).monthly([cost.nat_gateways(1)[0]]) is None


def test_one_unknown_price_makes_the_sum_unknown(aws, price_list):
    entries, _ = price_list
    entries.append(entry("EUC1-NatGateway-Hours", 0.05))
    assert Prices(aws).monthly(cost.nat_gateways(1)) is None


@pytest.mark.parametrize(
    "failure",
    [
        ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetProducts"),
        EndpointConnectionError(endpoint_url="https://pricing.example.com"),
        ResponseParserError("a page of a proxy"),
    ],
)
def test_a_price_that_can_not_be_asked_for_is_unknown(aws, failure):
    def fail(**_):
        raise failure

    answer(aws, "pricing", "GetProducts", fail, "us-east-1")
    assert Prices(aws).monthly([cost.cluster_control_plane()]) is None


def test_other_partitions_have_unknown_prices(simulation):
    aws = AwsClients(region_name="cn-north-1")
    assert Prices(aws).monthly([cost.cluster_control_plane()]) is None
    assert simulation.calls() == []


def test_spot_instances_cost_the_mean_of_the_zones(aws):
    def respond(**asked):
        assert asked["InstanceTypes"] == ["m5.large"]
        prices = {"eu-central-1a": "0.04", "eu-central-1b": "0.06"}
        return {"SpotPriceHistory": [{"AvailabilityZone": zone, "SpotPrice": each} for zone, each in prices.items()]}

    answer(aws, "ec2", "DescribeSpotPriceHistory", respond)
    assert Prices(aws).monthly([cost.instances("m5.large", 2, spot=True)]) == round(0.05 * 2 * HOURS, 2)


def test_spot_instances_that_nobody_offers_have_no_price(aws):
    answer(aws, "ec2", "DescribeSpotPriceHistory", lambda **_: {"SpotPriceHistory": []})
    assert Prices(aws).monthly([cost.instances("m5.large", 2, spot=True)]) is None


@dataclass(frozen=True, kw_only=True)
class _CostlyRole(IamRole):
    kind: ClassVar[str] = "costly role"

    def cost_items(self):
        return [cost.cluster_control_plane()]


class _EnsureCostlyRole(EnsureOperator):
    resource_class = _CostlyRole


def costly(**wanted):
    return _EnsureCostlyRole(
        task_id="t", cluster_name="c", role_name="r", trusted_service="eks.amazonaws.com", **wanted
    )


@pytest.mark.parametrize(("wanted", "expected"), [({}, 73), ({"existing": True}, 0)])
def test_the_plan_of_a_dry_run_tells_the_cost(aws, converge, wanted, expected):
    operator = costly(dry_run=True, **wanted)
    listed = {"PriceList": [json.dumps(entry("EUC1-AmazonEKS-Hours:perCluster", 0.1))]}
    answer(aws, "pricing", "GetProducts", lambda **_: listed, "us-east-1")
    converge(operator)
    assert converge.plans[0]["monthly_cost"] == expected


def test_where_things_are_done_no_price_is_asked_for(aws, converge):
    operator = costly()
    asked = answer(aws, "pricing", "GetProducts", lambda **_: {"PriceList": []}, "us-east-1")
    converge(operator)
    assert asked == []
    assert all("monthly_cost" not in plan for plan in converge.plans)
