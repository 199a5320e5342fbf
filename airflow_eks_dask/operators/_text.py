"""Parameters as templates leave them: texts that may look like numbers, or stand for truth values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context


class TextOperator(BaseOperator):
    """An operator for which text stays text in a DAG that renders native objects: version 1.30 is no number."""

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """
        Render a template, or all that are in a collection.

        :return: Text, unless the template is of one expression that has another value, or the text is that of a list or
            dict.
        """
        rendered = super().render_template(content, context, jinja_env, seen_oids)
        if not isinstance(content, str) or isinstance(rendered, (str, list, dict)):
            return rendered
        template = (jinja_env or self.get_template_env()).from_string(content)
        pieces = list(template.root_render_func(template.new_context(dict(context))))
        return pieces[0] if len(pieces) == 1 else "".join(map(str, pieces))


def is_true(value: bool | str) -> bool:
    """Read what a template may have made of a truth value."""
    return value if isinstance(value, bool) else value.strip().lower() in ("true", "1", "yes", "on")
