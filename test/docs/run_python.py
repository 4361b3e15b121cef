"""Runs a block of documentation: run_python.py TEXT. What its last line says is printed, as at a prompt."""
import ast
import sys
import warnings

warnings.filterwarnings("ignore")
tree = ast.parse(sys.argv[1])
last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
names = {}
exec(compile(tree, "block", "exec"), names)
if last is not None:
    print(eval(compile(ast.Expression(last.value), "block", "eval"), names))
