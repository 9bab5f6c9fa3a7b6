"""Engine flags that an operator may not add."""

from collections.abc import Iterable

from relayd.errors import ConfigError

_SETTINGS = {
    "file": ("-m", "--model"),
    "name, or aliases": ("-a", "--alias"),
    "[replicas] listen, or ports": ("--host", "--port"),
    "context": ("-c", "--ctx-size"),
    "slots": ("-np", "--parallel"),
    "threads": ("-t", "--threads"),
    "embeddings": ("--embedding", "--embeddings"),
    "cache_ram_mib": ("-cram", "--cache-ram"),
    "[[model.lora]]": ("--lora", "--lora-scaled"),
    "[server] api_key": ("--api-key", "--api-key-file"),
}
"""What a setting of relay.toml does, by that setting."""

_REFUSED = (
    # given by relayd itself
    *("-fit", "--fit", "--metrics", "--slots", "--no-slots", "--offline"),
    *("--ui", "--no-ui", "--webui", "--no-webui"),
    # other doors, other tenants
    *("--reuse-port", "--path", "--api-prefix", "--tools", "--tools-runtime", "-ag", "-no-ag", "--agent"),
    *("--no-agent", "--rpc"),
    # the file system
    *("--log-file", "--log-disable", "--log-prompts-dir", "--slot-save-path", "--media-path"),
    # the network
    *("-hf", "-hfr", "-hff", "-hft", "-hfd", "-hfrd", "-hfv", "-hfrv", "-hffv", "-mu", "-mmu", "-dr"),
    *("--model-url", "--mmproj-url", "--docker-repo", "--spec-draft-hf"),
    # print something and end
    *("-h", "--help", "--usage", "--version", "-cl", "--cache-list", "--completion-bash", "--list-devices"),
)

_REFUSED_BEGINNINGS = (
    *("--api-", "--cors-", "--no-cors-", "--ssl-", "--mcp-", "--ui-", "--no-ui-", "--webui-", "--no-webui-"),
    *("--hf-", "--models-", "--no-models-", "--agent-", "--tools-"),
    # whole models from the network
    *("--fim-", "--gpt-oss-", "--vision-", "--embd-gemma-"),
)

_INSTEAD = {flag: setting for setting, flags in _SETTINGS.items() for flag in flags} | dict.fromkeys(
    _REFUSED, ""
)


def check_extra_args(args: Iterable[str], where: str) -> None:
    """Refuse flags that would undo what relayd relies on, however they are spelt.

    llama-server takes the last of repeated flags, so one of ours given again would win.

    Args:
        args: The operator's own arguments, in order.
        where: Where they stand, for the message: `args of model "qwen"`.

    Raises:
        ConfigError: A flag is reserved; the message names it, and the setting to use instead.
    """
    for arg in args:
        flag = canonical(arg)
        if flag in _INSTEAD or flag.startswith(_REFUSED_BEGINNINGS):
            setting = _INSTEAD.get(flag, "")
            raise ConfigError(
                f"{where}: {flag} belongs to relayd",
                remedy=f"Use the setting {setting} instead." if setting else "Remove it.",
            )


def canonical(arg: str) -> str:
    """Return the flag an argument names, as `--help` spells it.

    llama-server reads `--foo_bar` as `--foo-bar`; `--foo=bar` is refused with `--foo`.
    """
    flag = arg.strip().partition("=")[0]
    return flag.replace("_", "-") if flag.startswith("--") else flag
