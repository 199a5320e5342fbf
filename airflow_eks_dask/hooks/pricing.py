"""What things cost in a month, by the AWS Pricing API."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from airflow_eks_dask.resources.cost import SPOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_eks_dask.hooks.aws import AwsClients
    from airflow_eks_dask.resources.cost import CostItem

log = logging.getLogger(__name__)

_API_REGION = "us-east-1"
"""Where the Pricing API is; it answers for all regions of its partition."""


class Prices:
    """
    Prices in one region, in US dollars, without discounts and taxes.

    Whatever can't be found out is None: a price must never be the reason why a plan can't be shown.
    Source: https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html.
    """

    def __init__(self, aws: AwsClients) -> None:
        self._aws = aws

    def monthly(self, items: Iterable[CostItem]) -> float | None:
        """Return what all of it costs in a month, to the cent; None if the price of any is unknown."""
        total = 0.0
        for item in items:
            price = self._price(item)
            if price is None:
                return None
            total += price * item.quantity
        return round(total, 2)

    def _price(self, item: CostItem) -> float | None:
        try:
            prices = self._spot(item) if item.usage.startswith(SPOT) else self._listed(item)
        # A proxy may answer with a page of its own.
        except (BotoCoreError, ClientError, ResponseParserError) as error:
            log.warning("The price of %s %s is unknown: %s", item.service, item.usage, error)
            return None
        if len(prices) != 1:
            found = f"{len(prices)} prices fit" if prices else "there is no such price"
            log.warning("The price of %s %s in %s is unknown: %s", item.service, item.usage, self._aws.region, found)
            return None
        return prices.pop()

    def _listed(self, item: CostItem) -> set[float]:
        if self._aws.partition != "aws":
            return set()
        attributes = {"regionCode": self._aws.region, **item.filters}
        pages = (
            self._aws.client("pricing", _API_REGION)
            .get_paginator("get_products")
            .paginate(
                ServiceCode=item.service,
                Filters=[{"Type": "TERM_MATCH", "Field": key, "Value": value} for key, value in attributes.items()],
            )
        )
        return {
            price for page in pages for text in page["PriceList"] for price in _prices(json.loads(text), item.usage)
        }

    def _spot(self, item: CostItem) -> set[float]:
        """Return the mean of the zones' prices."""
        pages = (
            self._aws.client("ec2")
            .get_paginator("describe_spot_price_history")
            .paginate(
                InstanceTypes=[item.usage.removeprefix(SPOT)],
                ProductDescriptions=["Linux/UNIX"],
                # Of all prices since now there is one in each zone: that which holds.
                StartTime=datetime.now(timezone.utc),
            )
        )
        prices = [float(price["SpotPrice"]) for page in pages for price in page["SpotPriceHistory"]]
        return {sum(prices) / len(prices)} if prices else set()


def _prices(entry: dict[str, Any], usage: str) -> Iterator[float]:
    """Yield the on-demand prices of one entry of the price list, those of the first tier, if it is for a usage."""
    found = str(entry["product"]["attributes"].get("usagetype", ""))
    # Regions put their prefix in front: EUC1-NatGateway-Hours.
    if found != usage and not found.endswith(f"-{usage}"):
        return
    for term in entry.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            if dimension.get("beginRange", "0") == "0" and "USD" in dimension["pricePerUnit"]:
                yield float(dimension["pricePerUnit"]["USD"])
