"""What Serverless Devs would make of s.yaml, and everything that is wrong with it.

`s verify` lets most mistakes through: a misspelt property, a trigger without methods, JWT without keys, cpu
and memory that do not go together. `faults` refuses them. It starts from fc3's own schema (fc3-schema.json),
closes every object in it, and adds the rules that are in no schema.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator

from upload_url import settings
from upload_url.errors import Misconfigured

FC3 = json.loads((Path(__file__).parent / "fc3-schema.json").read_text())

#: The trigger's type says which configuration it takes; fc3's schema takes any.
TRIGGER_CONFIGS = {
    "http": "IHttpTriggerConfig",
    "timer": "ITimerTriggerConfig",
    "eventbridge": "IEventBridge",
}

#: Known to the component, unknown to its schema. Source: the component fc3-domain's schema.
CUSTOM_DOMAIN = {
    "type": "object",
    "required": ["domainName", "protocol", "certConfig", "route", "authConfig"],
    "properties": {
        "domainName": {"type": "string"},
        "protocol": {"enum": ["HTTPS"]},
        "certConfig": {
            "type": "object",
            "required": ["certId"],
            "properties": {"certId": {"type": "string"}},
        },
        "authConfig": {
            "type": "object",
            "required": ["authType"],
            "properties": {"authType": {"enum": ["function", "jwt"]}, "authInfo": {"type": "string"}},
        },
        "route": {
            "type": "object",
            "required": ["path"],
            "properties": {
                "path": {"type": "string"},
                "qualifier": {"type": "string"},
                "methods": {"type": "array", "items": {"enum": ["GET", "POST", "OPTIONS"]}},
            },
        },
    },
}

DOCUMENT = {
    "type": "object",
    "required": ["edition", "name", "access", "resources"],
    "properties": {
        "edition": {"const": "3.0.0"},
        "name": {"type": "string"},
        "access": {"type": "string"},
        "vars": {},
        "resources": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "type": "object",
                "required": ["component", "props"],
                "properties": {
                    "component": {"type": "string", "pattern": r"^fc3(@\d+\.\d+\.\d+)?$"},
                    "actions": {
                        "type": "object",
                        "propertyNames": {"pattern": "^(pre|success|fail|complete)-[a-z]+$"},
                        "additionalProperties": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["run", "path"],
                                "properties": {"run": {"type": "string"}, "path": {"type": "string"}},
                            },
                        },
                    },
                    "props": {},
                },
            },
        },
    },
}


def render(path: Path, environ: Mapping[str, str]) -> Any:
    """The document that Serverless Devs makes of the file: what it extends merged in, variables filled in.

    Raises:
        ValueError: an expression that is not understood, or a variable without value or default.
    """
    document = yaml.safe_load(path.read_text())
    base = document.pop("extend", None)
    if base:
        document = _merged(yaml.safe_load((path.parent / base).read_text()), document)
    document["vars"] = _filled(document.get("vars", {}), {}, environ, path.parent)
    return _filled(document, document["vars"], environ, path.parent)


def faults(document: Any, folder: Path) -> list[str]:
    """Everything that is wrong with a rendered document; its paths are relative to `folder`."""
    found = list(_schema_faults(document, DOCUMENT, "s.yaml"))
    if found:
        return found
    for name, resource in document["resources"].items():
        found += _schema_faults(resource["props"], {**FC3, "properties": _properties()}, name)
        if not found:
            found += _props_faults(resource["props"], folder)
    return found


def _properties() -> dict[str, Any]:
    return {
        **FC3["properties"],
        "functionName": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_-]{0,63}$"},
        "customDomain": CUSTOM_DOMAIN,
    }


def _schema_faults(instance: Any, schema: dict[str, Any], name: str) -> Iterator[str]:
    for error in Draft7Validator(_closed(schema)).iter_errors(instance):
        yield f"{name}: {'.'.join(str(part) for part in error.absolute_path)}: {error.message}"


def _closed(schema: Any) -> Any:
    """The schema with every object closed and every trigger's configuration chosen by the trigger's type."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
        if "triggerConfig" in schema["properties"]:
            closed["properties"]["triggerConfig"] = {}
            closed["allOf"] = [
                {
                    "if": {"properties": {"triggerType": {"const": kind}}},
                    "then": {"properties": {"triggerConfig": {"$ref": f"#/definitions/{config}"}}},
                }
                for kind, config in TRIGGER_CONFIGS.items()
            ]
    return closed


def _props_faults(props: Mapping[str, Any], folder: Path) -> Iterator[str]:
    yield from _size_faults(props)
    yield from _code_faults(props, folder)
    role = props.get("role", "")
    if not role or role != role.lower():
        yield f"role: {role!r}: without one there is nothing to sign with, and s makes its name lower-case"
    environ = props.get("environmentVariables", {})
    yield from _environment_faults(environ)
    http = [t["triggerConfig"] for t in props.get("triggers", []) if t["triggerType"] == "http"]
    if len(http) != 1:
        yield f"triggers: {len(http)} of type http; one is what a function can have and needs"
    for trigger in http:
        yield from _http_faults(trigger, environ.get("UPLOAD_IDENTITY_HEADER", ""))


def _size_faults(props: Mapping[str, Any]) -> Iterator[str]:
    cpu, memory = props.get("cpu"), props.get("memorySize")
    if cpu is None or memory is None or "diskSize" not in props:
        yield "cpu, memorySize, diskSize: all three, or the server chooses"
        return
    if round(cpu * 100) % 5 or round(cpu * 100) != round(cpu * 100, 6):
        yield f"cpu: {cpu} is no multiple of 0.05"
    if not 1 <= memory / 1024 / cpu <= 4:
        yield f"cpu, memorySize: {memory / 1024 / cpu:.2f} GB for each vCPU; 1 to 4 are possible"


def _code_faults(props: Mapping[str, Any], folder: Path) -> Iterator[str]:
    code = folder / props["code"]
    module, _, function = props["handler"].partition(".")
    source = code / f"{module}.py"
    if not source.is_file():
        yield f"code: {props['code']} has no {source.name}, which handler names"
        return
    if function not in [
        node.name for node in ast.parse(source.read_text()).body if isinstance(node, ast.FunctionDef)
    ]:
        yield f"handler: {source.name} has no function {function}"
    private = [path.name for path in code.iterdir() if path.name.startswith(".") or path.name == "s.yaml"]
    if private:
        yield f"code: {', '.join(private)} would be deployed"


def _environment_faults(environ: Mapping[str, str]) -> Iterator[str]:
    for name in environ:
        if name not in settings.NAMES:
            yield f"environmentVariables: the settings know no {name}"
    for name, value in environ.items():
        if not value:
            yield f"environmentVariables: {name} is empty: leave it out"
    if sum(len(name) + len(value.encode()) for name, value in environ.items()) > 4096:
        yield "environmentVariables: more than 4 KB"
    try:
        chosen = settings.load(environ)
    except Misconfigured as refusal:
        yield f"environmentVariables: {refusal.log}"
        return
    policy = chosen.policy
    if not (policy.prefix and policy.generated_keys and policy.types and policy.max_bytes):
        yield "environmentVariables: a prefix, made keys, types and a size limit are what ships"
    if ("x-oss-forbid-overwrite", "true") not in policy.forced_headers.values():
        yield "environmentVariables: what ships forbids overwriting"
    if "*" in chosen.origins:
        yield "environmentVariables: every origin is more than what ships may allow"


def _http_faults(trigger: Mapping[str, Any], identity_header: str) -> Iterator[str]:
    if sorted(trigger["methods"]) != ["GET", "OPTIONS", "POST"]:
        yield "methods: GET, POST and OPTIONS; without OPTIONS, FC lets in every origin"
    if trigger["authType"] == "anonymous":
        yield "authType: anonymous is for the operator to write"
    if trigger["authType"] != "jwt":
        if "authConfig" in trigger:
            yield "authConfig: only jwt has one"
        if identity_header:
            yield "UPLOAD_IDENTITY_HEADER: nothing but jwt passes an identity, so any caller could name one"
        return
    if "authConfig" not in trigger:
        yield "authConfig: jwt needs its keys"
        return
    passed = trigger["authConfig"].get("claimPassBy", "")
    if not isinstance(passed, str):
        passed = ",".join(
            f"{one['mappingParameterPosition']}:{one.get('claimName', '')}:{one['mappingParameterName']}"
            for one in passed
        )
    if not re.search(rf"(^|,)header:[^:,]+:{re.escape(identity_header or ' ')}(,|$)", passed, re.IGNORECASE):
        yield f"claimPassBy: {passed!r} does not fill the header UPLOAD_IDENTITY_HEADER names"
    if "whitelist" in trigger["authConfig"]:
        yield "whitelist: every path is the same function, so one open path opens all"


def _merged(base: Any, over: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return {key: _merged(base.get(key), over[key]) if key in over else base[key] for key in {**base, **over}}


def _filled(value: Any, variables: Mapping[str, Any], environ: Mapping[str, str], folder: Path) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, variables, environ, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, variables, environ, folder) for item in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    if found := re.fullmatch(r"\$\{env\('(\w+)'(?:, '([^']*)')?\)\}", value):
        name, default = found.groups()
        # Empty counts as absent, as it does in Serverless Devs 3.1.10.
        text = environ.get(name) or default
        if text is None:
            raise ValueError(f"{name} is not set")
        return text
    if found := re.fullmatch(r"\$\{json\(file\('([^']+)'\)\)\}", value):
        return json.loads((folder / found[1]).read_text())
    filled = re.sub(r"\$\{vars\.(\w+)\}", lambda found: str(variables[found[1]]), value)
    if "${" in filled:
        raise ValueError(f"{value} is not understood")
    return filled
