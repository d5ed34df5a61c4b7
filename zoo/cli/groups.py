"""Commands that have commands: `zoo` itself, `zoo cache`, `zoo registry`."""

from typer.core import TyperGroup

from zoo.errors import unknown


class Commands(TyperGroup):
    """The commands by name; a misspelt one gives the nearest."""

    def resolve_command(self, ctx, args):
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            kind = "command" if ctx.parent is None else f"command of `{ctx.command_path}`"
            raise unknown(kind, args[0], self.list_commands(ctx), see=f"{ctx.command_path} --help")
        return super().resolve_command(ctx, args)
