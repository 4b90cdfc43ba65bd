"""Scripts and style sheets that import one another, as one text."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from orl_explorer.app.components.bundle import BundleError, script, style


def write(folder: Path, **files: str) -> None:
    """Write files to a folder: ``a_js`` is a.js, ``sub__a_js`` is sub/a.js."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_a_module_is_a_function_of_what_it_imports(tmp_path: Path) -> None:
    write(
        tmp_path,
        view_js='import { one } from "./numbers.js";\n\nexport default () => one;\n',
        numbers_js="export const one = 1;\n",
    )
    assert script(tmp_path / "view.js") == (
        f"// {tmp_path}/numbers.js\n"
        "const $m0 = (() => {\n"
        "const one = 1;\n"
        "\n"
        "return { one };\n"
        "})();\n"
        f"// {tmp_path}/view.js\n"
        "const $m1 = (() => { const { one } = $m0;\n"
        "\n"
        "\n"
        "const $default = () => one;\n"
        "\n"
        "return { default: $default };\n"
        "})();\n"
        "export default $m1.default;\n"
    )


def test_modules_run_in_the_order_of_their_imports_and_each_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        view_js='import { a } from "./a.js";\nimport { b } from "./sub/b.js";\nexport default a + b;\n',
        a_js='import { b } from "./sub/b.js";\nexport const a = b;\n',
        sub__b_js='import { c } from "../c.js";\nexport const b = c;\n',
        c_js="export const c = 1;\n",
    )
    names = [line for line in script(tmp_path / "view.js").splitlines() if line.startswith("//")]
    assert names == [f"// {tmp_path}/{name}" for name in ("c.js", "sub/b.js", "a.js", "view.js")]


@pytest.mark.skipif(shutil.which("node") is None, reason="runs a script")
def test_private_names_of_modules_do_not_meet(tmp_path: Path) -> None:
    write(
        tmp_path,
        view_js=(
            'import { A } from "./a.js";\nimport {\n  b,\n  later,\n} from "./b.js";\n'
            "const GAP = 3;\nexport default async () => [A.gap(), b(), await later(), GAP];\n"
        ),
        a_js="const GAP = 1;\nexport class A {\n  static gap() {\n    return GAP;\n  }\n}\n",
        b_js=(
            "const GAP = 2;\nexport function b() {\n  return GAP;\n}\n"
            "export async function later() {\n  return GAP * 10;\n}\n"
        ),
    )
    (tmp_path / "one.mjs").write_text(script(tmp_path / "view.js"))
    program = 'import("./one.mjs").then((all) => all.default()).then((said) => console.log(JSON.stringify(said)))'
    ran = subprocess.run(["node", "-e", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout == "[1,2,20,3]\n"


def test_lines_keep_their_numbers_within_a_module(tmp_path: Path) -> None:
    write(
        tmp_path,
        view_js='import {\n  a,\n} from "./a.js";\n\nexport default a; // the fifth line\n',
        a_js="export const a = 1;\n",
    )
    after = script(tmp_path / "view.js").split("const $m1 = ")[1].splitlines()
    assert after[5] == "const $default = a; // the fifth line"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "{}/view.js is not there."),
        ({"view_js": "export const a = 1;\n"}, "{}/view.js has no default export."),
        (
            {"view_js": 'import { a } from "./gone.js";\nexport default a;\n'},
            "{0}/view.js: imports {0}/gone.js, which is not there.",
        ),
        (
            {
                "view_js": 'import { a, b, c } from "./a.js";\nexport default a;\n',
                "a_js": "export const a = 1;\nconst b = 2;\n",
            },
            "{0}/view.js: {0}/a.js exports no b, c.",
        ),
        (
            {
                "view_js": 'import { a } from "./a.js";\nexport default a;\n',
                "a_js": 'import { b } from "./b.js";\nexport const a = b;\n',
                "b_js": 'import { a } from "./a.js";\nexport const b = a;\n',
            },
            "Imports in a circle: {0}/a.js → {0}/b.js → {0}/a.js",
        ),
    ],
)
def test_what_cannot_be_bundled_is_said(tmp_path: Path, files: dict[str, str], said: str) -> None:
    write(tmp_path, **files)
    with pytest.raises(BundleError) as refused:
        script(tmp_path / "view.js")
    assert str(refused.value) == said.format(tmp_path)


@pytest.mark.parametrize(
    "statement",
    [
        'import a from "./a.js";',
        'import * as a from "./a.js";',
        'import { a as b } from "./a.js";',
        'import "./a.js";',
        'import { a } from "package";',
        'import { a } from "./a.mjs";',
        "export { a };",
        "export let a = 1;",
        'export * from "./a.js";',
        "export const { a } = {};",
        "export function* a() {}",
    ],
)
def test_other_forms_are_refused_with_file_and_line(tmp_path: Path, statement: str) -> None:
    write(tmp_path, view_js=f"// A view.\n\n{statement}\nexport default 1;\n", a_js="export const a = 1;\n")
    with pytest.raises(BundleError) as refused:
        script(tmp_path / "view.js")
    assert str(refused.value) == f"{tmp_path}/view.js:3: cannot follow {statement!r}."


def test_a_sheet_comes_after_those_that_it_imports_and_each_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        view_css='@import "./a.css";\n@import "./b.css";\n\n.view {\n}\n',
        a_css='@import "./b.css";\n\n.a {\n}\n',
        b_css=".b {\n}\n",
    )
    assert style(tmp_path / "view.css") == ".b {\n}\n\n.a {\n}\n\n.view {\n}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('@import "./gone.css";\n', "{0}/view.css: imports {0}/gone.css, which is not there."),
        ('a {\n}\n@import url("a.css");\n', "{0}/view.css:3: cannot follow '@import url(\"a.css\");'."),
        ('@import "./view.css";\n', "Imports in a circle: {0}/view.css → {0}/view.css"),
    ],
)
def test_a_sheet_that_cannot_be_followed_is_said(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path, view_css=text)
    with pytest.raises(BundleError) as refused:
        style(tmp_path / "view.css")
    assert str(refused.value) == said.format(tmp_path)
