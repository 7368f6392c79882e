"""The hostile corpus, whole: every family of tokens that must be refused."""

from __future__ import annotations

import claims_cases
import framing_cases
import header_cases
import json_cases
import signature_cases
from crafting import FAMILIES

__all__ = ["FAMILIES", "MODULES"]

MODULES = (framing_cases, json_cases, header_cases, signature_cases, claims_cases)
