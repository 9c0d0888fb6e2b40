"""Arithmetic without eval: a walk over the few kinds of nodes that are allowed."""

import ast
import math
import operator
from collections.abc import Callable, Mapping

from tool.domain.errors import ExecutionFailed

Number = int | float

MAX_CHARACTERS = 500
MAX_EXPONENT = 1_000
MAX_DIGITS_BITS = 20_000

_BINARY: Mapping[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_FUNCTIONS: Mapping[str, Callable[..., Number]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "exp": math.exp,
    "floor": math.floor,
    "log": math.log,
    "log10": math.log10,
    "max": max,
    "min": min,
    "round": round,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "tan": math.tan,
}
_CONSTANTS: Mapping[str, Number] = {"e": math.e, "pi": math.pi}


def calculate(expression: str) -> Number:
    """Return the value of an arithmetic expression: numbers, + - * / // % **, parentheses, pi, e and common functions.

    Raises ExecutionFailed with a text that names what is wrong. Exponents are at most 1,000 and integers at most
    20,000 bits, so that a short expression cannot keep the processor busy.
    """
    if len(expression) > MAX_CHARACTERS:
        raise ExecutionFailed(f"The expression has more than {MAX_CHARACTERS} characters.")
    try:
        value = _value(ast.parse(expression.strip(), mode="eval").body)
    except SyntaxError:
        raise ExecutionFailed("This is not an arithmetic expression.") from None
    except ZeroDivisionError:
        raise ExecutionFailed("Division by zero.") from None
    except (ValueError, OverflowError, TypeError) as error:
        raise ExecutionFailed(f"The expression has no value: {error}.") from None
    except RecursionError:
        raise ExecutionFailed("The expression is nested too deeply.") from None
    return _bounded(value)


def _bounded(value: Number) -> Number:
    if isinstance(value, int) and value.bit_length() > MAX_DIGITS_BITS:
        raise ExecutionFailed("The result is too large.")
    if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
        raise ExecutionFailed("The result is not a finite real number.")
    return value


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _bounded(_BINARY[type(op)](_value(left), _value(right)))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            return _bounded(_FUNCTIONS[name](*[_value(argument) for argument in args]))
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
    raise ExecutionFailed(f"Only arithmetic is calculated, not {ast.unparse(node)[:60]!r}.")


def _power(base: Number, exponent: Number) -> Number:
    if abs(exponent) > MAX_EXPONENT:
        raise ExecutionFailed(f"Exponents are at most {MAX_EXPONENT}.")
    return _bounded(base**exponent)
