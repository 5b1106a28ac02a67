"""libcurl on uvloop: the driver, the transport, and the client with tokens, limits and retries."""

from __future__ import annotations

from image_syncer.net.byte_budget import ByteBudgets, Metered
from image_syncer.net.client import RegistryClient, RetryRules
from image_syncer.net.curl_errors import CUT_HEAD, transport_error
from image_syncer.net.endpoints import EndpointBook, RegistryHealth, endpoints_of
from image_syncer.net.multi import ON_TRANSFER_END, CurlDriver
from image_syncer.net.network_options import Reach
from image_syncer.net.request_limiter import OURSELVES, LimiterEvents, LocalRequestLimiter, Throttle
from image_syncer.net.shared_work import share, shared_result
from image_syncer.net.token_broker import Authorization, OneCredential, TokenBroker
from image_syncer.net.transport import (
    ANSWER_SECONDS,
    BROKEN,
    BlobAnswer,
    Handle,
    InFlightLimit,
    RequestTally,
    TallyRow,
    Timeouts,
    Transport,
    parse_head,
    set_connection,
    set_upload,
)

__all__ = [
    "ANSWER_SECONDS",
    "BROKEN",
    "CUT_HEAD",
    "ON_TRANSFER_END",
    "OURSELVES",
    "Authorization",
    "BlobAnswer",
    "ByteBudgets",
    "CurlDriver",
    "EndpointBook",
    "Handle",
    "InFlightLimit",
    "LimiterEvents",
    "LocalRequestLimiter",
    "Metered",
    "OneCredential",
    "Reach",
    "RegistryClient",
    "RegistryHealth",
    "RequestTally",
    "RetryRules",
    "TallyRow",
    "Throttle",
    "Timeouts",
    "TokenBroker",
    "Transport",
    "endpoints_of",
    "parse_head",
    "set_connection",
    "set_upload",
    "share",
    "shared_result",
    "transport_error",
]
