"""Where EKS answers: moto looks for a module of this name beside ``models``."""

from __future__ import annotations

from tests.aws.eks.responses import EksResponse

url_bases = [r"https?://eks\.(.+)\.amazonaws\.com"]
url_paths = {"{0}/.*$": EksResponse.dispatch}
