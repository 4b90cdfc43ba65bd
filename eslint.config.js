// What eslint looks for. Names that are not there are found by tsc, which knows the browser's too.

import js from "@eslint/js";

export default [
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "no-undef": "off",
      "no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      "no-var": "error",
      "prefer-const": ["error", { destructuring: "all" }],
      "object-shorthand": "error",
      "prefer-template": "error",
      eqeqeq: "error",
    },
  },
  {
    // What app/components/bundle.py does not follow.
    files: ["app/**"],
    rules: {
      "no-restricted-syntax": [
        "error",
        ...["ImportExpression", "ImportDefaultSpecifier", "ImportNamespaceSpecifier", "ExportAllDeclaration"],
      ],
    },
  },
];
