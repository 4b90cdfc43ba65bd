// As ruff has it for Python: lines of 120 columns.

export default { printWidth: 120 };
