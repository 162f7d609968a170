"""How to set up programs for the local API: lines that work as they are, once they are pasted.

Knows nothing of whether the server runs, or of how the lines are shown.
"""

import json
from dataclasses import dataclass

NO_KEY = "YOUR_KEY"
NO_MODEL = "YOUR_MODEL"
# Beside the lines and not among them: zsh takes no comments where they are pasted.
_OPEN_WEBUI = (
    "Start it with this, or give address and key under Admin Panel › Settings › Connections. In a container, write "
    "host.docker.internal for 127.0.0.1."
)


@dataclass(frozen=True, slots=True)
class Snippet:
    name: str
    """Of the program."""
    language: str
    """For the colours."""
    where: str
    """Where the lines go."""
    code: str


def make_snippets(address: str, key: str, model: str) -> tuple[Snippet, ...]:
    """`address` has no path, such as `http://127.0.0.1:8080`; `key` is what is to stand there for one."""
    key, model = key or NO_KEY, model or NO_MODEL
    return (
        Snippet("curl", "bash", "In a terminal:", _curl(address, key, model)),
        Snippet("Python", "python", "With the openai package:", _python(address, key, model)),
        Snippet("JavaScript", "javascript", "With the openai package from npm:", _javascript(address, key, model)),
        Snippet("Open WebUI", "bash", _OPEN_WEBUI, _open_webui(address, key)),
        Snippet("Continue", "yaml", "In ~/.continue/config.yaml:", _continue(address, key, model)),
        Snippet("Claude Code", "bash", "Start it with:", _claude_code(address, key, model)),
    )


def _curl(address: str, key: str, model: str) -> str:
    quoted = json.dumps(model, ensure_ascii=False).replace("'", "'\\''")
    return (
        f"curl {address}/v1/chat/completions \\\n"
        f'  -H "Authorization: Bearer {key}" \\\n'
        f'  -H "Content-Type: application/json" \\\n'
        "  -d '{\n"
        f'    "model": {quoted},\n'
        '    "messages": [{"role": "user", "content": "Hello!"}]\n'
        "  }'"
    )


def _python(address: str, key: str, model: str) -> str:
    return (
        "from openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{address}/v1", api_key="{key}")\n'
        "answer = client.chat.completions.create(\n"
        f"    model={json.dumps(model, ensure_ascii=False)},\n"
        '    messages=[{"role": "user", "content": "Hello!"}],\n'
        ")\n"
        "print(answer.choices[0].message.content)"
    )


def _javascript(address: str, key: str, model: str) -> str:
    return (
        'import OpenAI from "openai";\n\n'
        f'const client = new OpenAI({{ baseURL: "{address}/v1", apiKey: "{key}" }});\n'
        "const answer = await client.chat.completions.create({\n"
        f"  model: {json.dumps(model, ensure_ascii=False)},\n"
        '  messages: [{ role: "user", content: "Hello!" }],\n'
        "});\n"
        "console.log(answer.choices[0].message.content);"
    )


def _open_webui(address: str, key: str) -> str:
    return f"OPENAI_API_BASE_URL={address}/v1 \\\nOPENAI_API_KEY={key} \\\nopen-webui serve --port 3000"


def _continue(address: str, key: str, model: str) -> str:
    return (
        "name: Fovea\n"
        "version: 0.0.1\n"
        "schema: v1\n"
        "models:\n"
        "  - name: Fovea\n"
        "    provider: openai\n"
        f"    model: {json.dumps(model, ensure_ascii=False)}\n"
        f"    apiBase: {address}/v1\n"
        f"    apiKey: {key}\n"
        "    roles: [chat, edit]"
    )


def _claude_code(address: str, key: str, model: str) -> str:
    quoted = "'" + model.replace("'", "'\\''") + "'"
    return (
        f"ANTHROPIC_BASE_URL={address} \\\n"
        f"ANTHROPIC_AUTH_TOKEN={key} \\\n"
        f"ANTHROPIC_MODEL={quoted} \\\n"
        f"ANTHROPIC_DEFAULT_HAIKU_MODEL={quoted} \\\n"
        "claude"
    )
