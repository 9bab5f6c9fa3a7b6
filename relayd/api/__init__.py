"""The doors: who may ask, what they may ask for, and how they are refused."""

from relayd.api.admin import Offered, admin_routes
from relayd.api.admission import Access, RequestContext, Route
from relayd.api.anthropic import anthropic_routes
from relayd.api.bodies import Bodies
from relayd.api.description import description_routes
from relayd.api.door import Door
from relayd.api.errors import error_answer
from relayd.api.fleet import ModelDirectory, ModelState, ModelView
from relayd.api.grants import KeyGrant, VisibleModels
from relayd.api.guard import make_policy
from relayd.api.health import HealthWorker, Vitals, health_routes
from relayd.api.inference import Inference
from relayd.api.kept import KeptResponses
from relayd.api.keys import FailedKeys, Keyring, KnownKeys
from relayd.api.limiter import ConnectionLimits
from relayd.api.native import native_routes
from relayd.api.ollama import lm_studio_routes, ollama_routes
from relayd.api.ollamachanges import OllamaChanges
from relayd.api.openai import OPENAI, openai_routes
from relayd.api.rerank import rerank_routes
from relayd.api.responses import responses_routes
from relayd.api.served import behind, peer_of
from relayd.api.server import Listener, listen
from relayd.api.tls import Certificate
from relayd.api.transcription import transcription_routes

__all__ = [
    "OPENAI",
    "Access",
    "Bodies",
    "Certificate",
    "ConnectionLimits",
    "Door",
    "FailedKeys",
    "HealthWorker",
    "Inference",
    "KeptResponses",
    "KeyGrant",
    "Keyring",
    "KnownKeys",
    "Listener",
    "ModelDirectory",
    "ModelState",
    "ModelView",
    "Offered",
    "OllamaChanges",
    "RequestContext",
    "Route",
    "VisibleModels",
    "Vitals",
    "admin_routes",
    "anthropic_routes",
    "behind",
    "description_routes",
    "error_answer",
    "health_routes",
    "listen",
    "lm_studio_routes",
    "make_policy",
    "native_routes",
    "ollama_routes",
    "openai_routes",
    "peer_of",
    "rerank_routes",
    "responses_routes",
    "transcription_routes",
]
