"""Pairs of projects: what code refers to, by whatever way, and what classes hold."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

DIFFERENT, SAME, UNTRACKED = "different", "same", "untracked"
HELPERS = """
    RATE = @@
    def scale(x):
        return x * @@
"""


class Row(NamedTuple):
    """Two projects that differ in one place, or two environments of one."""

    kind: str
    expected: str
    """Whether the identities of `step` differ, are the same, or cannot be compared, which is said so."""
    steps: str
    """The source of ``steps.py``; ``@@`` stands for what differs. Beside it lies ``helpers.py``."""
    more: Mapping[str, str] = MappingProxyType({})
    """The sources of other modules, by dotted name."""
    sides: tuple[object, object] = (2, 3)
    variable: tuple[str, str | None, str | None] | None = None
    """An environment variable, and its value on each side."""


ROWS = (
    Row(
        "import_module",
        DIFFERENT,
        """
        import importlib
        def step(x):
            return importlib.import_module('helpers').scale(x)
    """,
    ),
    Row(
        "import_module as",
        DIFFERENT,
        """
        from importlib import import_module as im
        def step(x):
            return im('helpers').scale(x)
    """,
    ),
    Row(
        "import_module kw",
        DIFFERENT,
        """
        from importlib import import_module as im
        def step(x):
            return im(name='helpers').scale(x)
    """,
    ),
    Row(
        "import_module local",
        DIFFERENT,
        """
        def step(x):
            from importlib import import_module as im
            return im('helpers').scale(x)
    """,
    ),
    Row(
        "import_module const",
        DIFFERENT,
        """
        import importlib
        MOD='helpers'
        def step(x):
            return importlib.import_module(MOD).scale(x)
    """,
    ),
    Row(
        "import_module alias local",
        DIFFERENT,
        """
        import importlib
        def step(x):
            load = importlib.import_module
            return load('helpers').scale(x)
    """,
    ),
    Row(
        "import_module var",
        UNTRACKED,
        """
        import importlib
        def step(x, name='helpers'):
            return importlib.import_module(name).scale(x)
    """,
    ),
    Row(
        "import_module rel",
        DIFFERENT,
        """
        import importlib
        def step(x):
            return importlib.import_module('.sub', 'pkg').R
    """,
        more={"pkg.sub": "R=@@\n"},
    ),
    Row(
        "import_module parent",
        DIFFERENT,
        """
        import importlib
        def step(x):
            return importlib.import_module('pkg.sub').R
    """,
        more={"pkg.sub": "R=1\n", "pkg.__init__": "R=@@\n"},
    ),
    Row(
        "late import parent",
        DIFFERENT,
        """
        def step(x):
            import pkg.sub
            return pkg.R
    """,
        more={"pkg.sub": "R=1\n", "pkg.__init__": "R=@@\n"},
    ),
    Row(
        "__import__",
        DIFFERENT,
        """
        def step(x):
            return __import__('helpers').scale(x)
    """,
    ),
    Row(
        "__import__ var",
        UNTRACKED,
        """
        def step(x, n):
            return __import__(n).scale(x)
    """,
    ),
    Row(
        "builtins.__import__",
        DIFFERENT,
        """
        import builtins
        def step(x):
            return builtins.__import__('helpers').scale(x)
    """,
    ),
    Row(
        "map import",
        UNTRACKED,
        """
        from importlib import import_module
        def step(x):
            return list(map(import_module, x))
    """,
    ),
    Row(
        "partial import",
        UNTRACKED,
        """
        import functools
        from importlib import import_module
        load=functools.partial(import_module)
        def step(x):
            return load('helpers').scale(x)
    """,
    ),
    Row(
        "helper var",
        UNTRACKED,
        """
        from h2 import load
        def step(x):
            return load('helpers').scale(x)
    """,
        more={"h2": "import importlib\ndef load(n):\n    return importlib.import_module(n)\n"},
    ),
    Row(
        "via project alias",
        DIFFERENT,
        """
        import h2
        def step(x):
            return h2.import_module('helpers').scale(x)
    """,
        more={"h2": "from importlib import import_module\n"},
    ),
    Row(
        "lambda",
        DIFFERENT,
        """
        from importlib import import_module
        step = lambda x: import_module('helpers').scale(x)
    """,
    ),
    Row(
        "comprehension",
        DIFFERENT,
        """
        from importlib import import_module
        def step(x):
            return [import_module('helpers').scale(y) for y in x]
    """,
    ),
    Row(
        "method",
        DIFFERENT,
        """
        from importlib import import_module
        class A:
            def f(self, x): return import_module('helpers').scale(x)
        def step(x):
            return A().f(x)
    """,
    ),
    Row(
        "class attr",
        UNTRACKED,
        """
        from importlib import import_module
        class A:
            load = staticmethod(import_module)
        def step(x):
            return A.load('helpers').scale(x)
    """,
    ),
    Row(
        "decorator",
        DIFFERENT,
        """
        import functools
        from importlib import import_module
        def d(f):
            @functools.wraps(f)
            def g(x): return import_module('helpers').scale(f(x))
            return g
        @d
        def step(x):
            return x
    """,
    ),
    Row(
        "default",
        UNTRACKED,
        """
        from importlib import import_module
        def step(x, load=import_module):
            return load('helpers').scale(x)
    """,
    ),
    Row(
        "closure",
        DIFFERENT,
        """
        def make():
            from importlib import import_module
            def step(x): return import_module('helpers').scale(x)
            return step
        step=make()
    """,
    ),
    Row(
        "getattr literal",
        DIFFERENT,
        """
        import helpers
        def step(x):
            return getattr(helpers,'scale')(x)
    """,
    ),
    Row(
        "getattr var",
        DIFFERENT,
        """
        import helpers
        def step(x, n='scale'):
            return getattr(helpers,n)(x)
    """,
    ),
    Row(
        "getattr lib",
        SAME,
        """
        import math
        def step(x, n='sin'):
            return getattr(math,n)(x)
    """,
    ),
    Row(
        "getattr self",
        SAME,
        """
        class A:
            a=1
        def step(x, n='a'):
            return getattr(A(),n)
    """,
    ),
    Row(
        "getattr builtins eval",
        UNTRACKED,
        """
        import builtins
        def step(x):
            return getattr(builtins,'eval')(x)
    """,
    ),
    Row(
        "globals lit",
        DIFFERENT,
        """
        from helpers import scale as s
        def step(x):
            return globals()['s'](x)
    """,
    ),
    Row(
        "globals get",
        DIFFERENT,
        """
        from helpers import scale as s
        def step(x):
            return globals().get('s')(x)
    """,
    ),
    Row(
        "globals var",
        DIFFERENT,
        """
        from helpers import scale as s
        def step(x,n='s'):
            return globals()[n](x)
    """,
    ),
    Row(
        "globals alias",
        DIFFERENT,
        """
        from helpers import scale as s
        def step(x,n='s'):
            g = globals()
            return g[n](x)
    """,
    ),
    Row(
        "globals alias fn",
        DIFFERENT,
        """
        from helpers import scale as s
        g=globals
        def step(x,n='s'):
            return g()[n](x)
    """,
    ),
    Row(
        "globals state",
        DIFFERENT,
        """
        import helpers
        CFG=helpers.RATE
        def step(x,n='CFG'):
            return globals()[n]
    """,
    ),
    Row(
        "vars",
        DIFFERENT,
        """
        import helpers
        def step(x):
            return vars(helpers)['scale'](x)
    """,
    ),
    Row(
        "__dict__",
        DIFFERENT,
        """
        import helpers
        def step(x):
            return helpers.__dict__['scale'](x)
    """,
    ),
    Row(
        "__dict__ alias",
        DIFFERENT,
        """
        import helpers
        D=helpers.__dict__
        def step(x):
            return D['scale'](x)
    """,
    ),
    Row(
        "vars state",
        DIFFERENT,
        """
        import helpers, os
        helpers.EXTRA = os.environ['QQ']
        def step(x,n):
            return vars(helpers)[n]
    """,
        more={"helpers": "def scale(x): return x\n"},
        variable=("QQ", "1", "2"),
    ),
    Row(
        "sys.modules lit",
        DIFFERENT,
        """
        import sys, helpers
        def step(x):
            return sys.modules['helpers'].scale(x)
    """,
    ),
    Row(
        "sys.modules get",
        DIFFERENT,
        """
        import sys, helpers
        def step(x):
            return sys.modules.get('helpers').scale(x)
    """,
    ),
    Row(
        "sys.modules name",
        DIFFERENT,
        """
        import sys
        R=@@
        def step(x):
            return sys.modules[__name__].R
    """,
    ),
    Row(
        "sys.modules name get",
        DIFFERENT,
        """
        import sys
        R=@@
        def step(x):
            return getattr(sys.modules[__name__],'R')
    """,
    ),
    Row(
        "sys.modules var",
        UNTRACKED,
        """
        import sys, helpers
        def step(x,n):
            return sys.modules[n].scale(x)
    """,
    ),
    Row(
        "sys.modules in",
        SAME,
        """
        import sys
        def step(x):
            return 'torch' in sys.modules
    """,
    ),
    Row(
        "modules alias",
        DIFFERENT,
        """
        from sys import modules
        import helpers
        def step(x):
            return modules['helpers'].scale(x)
    """,
    ),
    Row(
        "eval lit",
        DIFFERENT,
        """
        import helpers
        def step(x):
            return eval('helpers.scale(x)')
    """,
    ),
    Row(
        "eval var",
        UNTRACKED,
        """
        import helpers
        def step(x):
            return eval(x)
    """,
    ),
    Row(
        "exec lit",
        DIFFERENT,
        r"""
        import helpers
        def step(x):
            ns={}
            exec('import helpers\ny=helpers.scale(1)', ns)
            return ns
    """,
    ),
    Row(
        "exec file",
        UNTRACKED,
        """
        def step(x):
            exec(open('x.py').read())
    """,
    ),
    Row(
        "exec compile lit",
        DIFFERENT,
        """
        def step(x):
            exec(compile('import helpers', 'f', 'exec'))
    """,
    ),
    Row(
        "compile var",
        UNTRACKED,
        """
        def step(x):
            exec(compile(x, 'f', 'exec'))
    """,
    ),
    Row(
        "model.eval",
        SAME,
        """
        def step(x):
            return x.eval()
    """,
    ),
    Row(
        "re.compile",
        SAME,
        """
        import re
        def step(x):
            return re.compile(x)
    """,
    ),
    Row(
        "param compile",
        SAME,
        """
        def step(x, compile=True):
            return compile
    """,
    ),
    Row(
        "environ",
        DIFFERENT,
        """
        import os
        def step(x):
            return os.environ['QQ']
    """,
        variable=("QQ", "1", "2"),
    ),
    Row(
        "environ absent",
        DIFFERENT,
        """
        import os
        def step(x):
            return os.environ.get('QQ')
    """,
        variable=("QQ", None, "2"),
    ),
    Row(
        "getenv",
        DIFFERENT,
        """
        from os import getenv
        def step(x):
            return getenv('QQ', '1')
    """,
        variable=("QQ", "1", "2"),
    ),
    Row(
        "environ alias",
        DIFFERENT,
        """
        import os
        env=os.environ
        def step(x):
            return env['QQ']
    """,
        variable=("QQ", "1", "2"),
    ),
    Row(
        "environ from",
        DIFFERENT,
        """
        from os import environ as E
        def step(x):
            return E.get('QQ')
    """,
        variable=("QQ", "1", "2"),
    ),
    Row(
        "environ local alias",
        DIFFERENT,
        """
        import os
        def step(x):
            e = os.environ
            return e['QQ']
    """,
        variable=("QQ", "1", "2"),
    ),
    Row(
        "environ get alias",
        DIFFERENT,
        """
        import os
        get=os.environ.get
        def step(x):
            return get('QQ')
    """,
        variable=("QQ", "1", "2"),
    ),
    Row(
        "environ in",
        DIFFERENT,
        """
        import os
        def step(x):
            return 'QQ' in os.environ
    """,
        variable=("QQ", None, "2"),
    ),
    Row(
        "environ var",
        UNTRACKED,
        """
        import os
        def step(x,n):
            return os.environ[n]
    """,
    ),
    Row(
        "environ all",
        UNTRACKED,
        """
        import os
        def step(x):
            return dict(os.environ)
    """,
    ),
    Row(
        "environ pass",
        UNTRACKED,
        """
        import os, subprocess
        def step(x):
            return subprocess.run(x, env=os.environ)
    """,
    ),
    Row(
        "environ store",
        SAME,
        """
        import os
        def step(x):
            os.environ['QQ']='1'
    """,
        variable=("QQ", "1", "2"),
    ),
    Row(
        "environ default arg",
        UNTRACKED,
        """
        import os
        def step(x, env=os.environ):
            return env['QQ']
    """,
    ),
    Row(
        "environ project alias",
        DIFFERENT,
        """
        import h2
        def step(x):
            return h2.env['QQ']
    """,
        more={"h2": "import os\nenv=os.environ\n"},
        variable=("QQ", "1", "2"),
    ),
    Row(
        "environ via const",
        DIFFERENT,
        """
        import os
        K='QQ'
        def step(x):
            return os.environ[K]
    """,
        variable=("QQ", "1", "2"),
    ),
    Row(
        "environ helper",
        DIFFERENT,
        """
        import h2
        def step(x):
            return h2.f()
    """,
        more={"h2": "import os\ndef f(): return os.environ['QQ']\n"},
        variable=("QQ", "1", "2"),
    ),
    Row(
        "environ late module",
        DIFFERENT,
        """
        def step(x):
            import h2
            return h2.R
    """,
        more={"h2": "import os\nR=os.environ['QQ']\n"},
        variable=("QQ", "1", "2"),
    ),
    Row(
        "environ late module var",
        UNTRACKED,
        """
        def step(x):
            import h2
            return h2.f()
    """,
        more={"h2": "import os\ndef f(n): return os.environ[n]\n"},
    ),
    Row(
        "runpy",
        DIFFERENT,
        """
        import runpy
        def step(x):
            return runpy.run_module('helpers')
    """,
    ),
    Row(
        "runpy path",
        UNTRACKED,
        """
        import runpy
        def step(x):
            return runpy.run_path(x)
    """,
    ),
    Row(
        "pkgutil",
        UNTRACKED,
        """
        import pkgutil
        def step(x):
            return list(pkgutil.iter_modules(x))
    """,
    ),
    Row(
        "entry points",
        UNTRACKED,
        """
        from importlib.metadata import entry_points
        def step(x):
            return entry_points(group='x')
    """,
    ),
    Row(
        "resolve_name",
        DIFFERENT,
        """
        import pkgutil
        def step(x):
            return pkgutil.resolve_name('helpers:scale')(x)
    """,
    ),
    Row(
        "locate",
        DIFFERENT,
        """
        import pydoc
        def step(x):
            return pydoc.locate('helpers.scale')(x)
    """,
    ),
    Row(
        "sys.path var",
        UNTRACKED,
        """
        import sys, os
        def step(x):
            sys.path.insert(0, os.path.join(x,'lib'))
            import mylib
            return mylib.R
    """,
    ),
    Row(
        "lazy package",
        DIFFERENT,
        """
        import pkg
        def step(x):
            return pkg.Model
    """,
        more={
            "pkg.__init__": (
                "import importlib\n"
                "_L={'Model':'.m'}\n"
                "def __getattr__(n):\n"
                "    if n not in _L: raise AttributeError(n)\n"
                "    return getattr(importlib.import_module(_L[n], __name__), n)\n"
            ),
            "pkg.m": "class Model:\n    r=@@\n",
        },
    ),
    Row(
        "lazy value",
        DIFFERENT,
        """
        import pkg
        def step(x):
            return pkg.R
    """,
        more={"pkg.__init__": "import os\ndef __getattr__(n):\n    return os.environ['QQ']\n"},
        variable=("QQ", "1", "2"),
    ),
    Row(
        "lazy getattr",
        DIFFERENT,
        """
        import pkg
        def step(x):
            return getattr(pkg,'Model')
    """,
        more={
            "pkg.__init__": "def __getattr__(n):\n    from .m import Model\n    return Model\n",
            "pkg.m": "class Model:\n    r=@@\n",
        },
    ),
    Row(
        "lazy late",
        DIFFERENT,
        """
        def step(x):
            from pkg import Model
            return Model
    """,
        more={
            "pkg.__init__": "def __getattr__(n):\n    from .m import Model\n    return Model\n",
            "pkg.m": "class Model:\n    r=@@\n",
        },
    ),
    Row(
        "lazy raising",
        UNTRACKED,
        """
        import pkg
        def step(x):
            return pkg.Model
    """,
        more={"pkg.__init__": "def __getattr__(n):\n    raise RuntimeError(n)\n"},
    ),
    Row(
        "frames",
        UNTRACKED,
        """
        import sys
        def step(x):
            return sys._getframe(1).f_globals[x]
    """,
    ),
    Row(
        "__globals__",
        UNTRACKED,
        """
        import helpers
        def step(x):
            return helpers.scale.__globals__[x]
    """,
    ),
    Row(
        "spec file",
        UNTRACKED,
        """
        import importlib.util
        def step(x):
            return importlib.util.spec_from_file_location('m', x)
    """,
    ),
    Row(
        "star",
        DIFFERENT,
        """
        from helpers import *
        def step(x):
            return scale(x)
    """,
    ),
    Row(
        "late star",
        DIFFERENT,
        """
        def step(x):
            import h2
            return h2.scale(x)
    """,
        more={"h2": "from helpers import *\n"},
    ),
    Row(
        "conditional",
        DIFFERENT,
        """
        try:
            import nope_nope as h
        except ImportError:
            import helpers as h
        def step(x):
            return h.scale(x)
    """,
    ),
    Row(
        "late conditional",
        DIFFERENT,
        """
        def step(x):
            try:
                import nope_nope as h
            except ImportError:
                import helpers as h
            return h.scale(x)
    """,
    ),
    Row(
        "reload",
        DIFFERENT,
        """
        import importlib, helpers
        def step(x):
            importlib.reload(helpers)
            return helpers.scale(x)
    """,
    ),
    Row(
        "replaced",
        DIFFERENT,
        """
        import helpers
        def other(x): return @@
        helpers.scale=other
        def step(x):
            return helpers.scale(x)
    """,
        more={"helpers": "def scale(x): return x\n"},
    ),
    Row(
        "singledispatch",
        DIFFERENT,
        """
        import h2, helpers
        def step(x):
            return h2.f(x)
    """,
        more={
            "helpers": "import h2\n@h2.f.register(int)\ndef _(x): return @@\n",
            "h2": "import functools\n@functools.singledispatch\ndef f(x): return 0\n",
        },
    ),
    Row(
        "namespace",
        DIFFERENT,
        """
        import types, helpers
        N=types.SimpleNamespace(s=helpers.scale)
        def step(x):
            return N.s(x)
    """,
    ),
    Row(
        "module closure",
        DIFFERENT,
        """
        def make():
            import helpers
            def step(x): return helpers.scale(x)
            return step
        step=make()
    """,
    ),
    Row(
        "init_subclass import",
        DIFFERENT,
        """
        class B:
            def __init_subclass__(cls):
                import helpers
                cls.r=helpers.RATE
        class C(B): pass
        def step(x):
            return C.r
    """,
    ),
    Row(
        "attrgetter",
        DIFFERENT,
        """
        import operator, helpers
        def step(x):
            return operator.attrgetter('scale')(helpers)(x)
    """,
    ),
    Row(
        "inspect",
        DIFFERENT,
        """
        import inspect, helpers
        def step(x):
            return dict(inspect.getmembers(helpers))['scale'](x)
    """,
    ),
    Row(
        "fake json",
        DIFFERENT,
        """
        import sys, types
        m=types.ModuleType('colorsys'); m.f=lambda x: x*@@
        sys.modules['colorsys']=m
        import colorsys
        def step(x):
            return colorsys.f(x)
    """,
    ),
    Row(
        "made module",
        DIFFERENT,
        """
        import sys, types
        m=types.ModuleType('made_up'); m.f=lambda x: x*@@
        sys.modules['made_up']=m
        import made_up
        def step(x):
            return made_up.f(x)
    """,
    ),
    Row(
        "f-string",
        DIFFERENT,
        """
        import importlib
        P='help'
        def step(x):
            return importlib.import_module(f'{P}ers').scale(x)
    """,
    ),
    Row(
        "lit cat",
        DIFFERENT,
        """
        import importlib
        def step(x):
            return importlib.import_module('hel' + 'pers').scale(x)
    """,
    ),
    Row(
        "no lookup",
        SAME,
        """
        import os, json, functools, logging, math
        L=logging.getLogger('a')
        def step(x):
            L.info('x'); return json.dumps(os.path.join('a','b')), math.pi
    """,
    ),
    Row(
        "async",
        DIFFERENT,
        """
        from importlib import import_module
        async def step(x):
            return import_module('helpers').scale(x)
    """,
    ),
    Row(
        "generator",
        DIFFERENT,
        """
        from importlib import import_module
        def step(x):
            yield import_module('helpers').scale(x)
    """,
    ),
    Row(
        "walrus",
        DIFFERENT,
        """
        from importlib import import_module
        def step(x):
            return (m := import_module('helpers')).scale(x)
    """,
    ),
    Row(
        "getattr chain",
        DIFFERENT,
        """
        from importlib import import_module
        def step(x, n='scale'):
            return getattr(import_module('helpers'), n)(x)
    """,
    ),
    Row(
        "find_spec",
        DIFFERENT,
        """
        import importlib.util
        def step(x):
            return importlib.util.find_spec('helpers') is not None
    """,
    ),
    Row(
        "lambda default",
        UNTRACKED,
        """
        import os
        step = lambda x, e=os.environ: e['QQ']
    """,
    ),
    Row(
        "property",
        DIFFERENT,
        """
        import os
        class A:
            @property
            def r(self): return os.environ['QQ']
        def step(x):
            return A().r
    """,
        variable=("QQ", "1", "2"),
    ),
    Row(
        "nested def",
        DIFFERENT,
        """
        import os
        def step(x):
            def f():
                return os.environ['QQ']
            return f()
    """,
        variable=("QQ", "1", "2"),
    ),
    Row(
        "nested class",
        DIFFERENT,
        """
        import os
        def step(x):
            class A:
                r = os.environ['QQ']
            return A.r
    """,
        variable=("QQ", "1", "2"),
    ),
    Row(
        "object attr",
        UNTRACKED,
        """
        import os
        class A:
            def __init__(self): self.e = os.environ
        a=A()
        def step(x):
            return a.e['QQ']
    """,
    ),
    Row(
        "another environment variable",
        SAME,
        """
        import os
        def step(x):
            return os.environ.get('QQ')
    """,
        variable=("ZZ", "1", "2"),
    ),
    Row(
        "class: pyd",
        DIFFERENT,
        """
        from pydantic import BaseModel
        class Conf(BaseModel):
            lr: float = @@
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: pyd field",
        DIFFERENT,
        """
        from pydantic import BaseModel, Field
        class Conf(BaseModel):
            lr: float = Field(@@, gt=0)
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: pyd gt",
        DIFFERENT,
        """
        from pydantic import BaseModel, Field
        class Conf(BaseModel):
            lr: float = Field(1, gt=@@)
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: pyd factory",
        DIFFERENT,
        """
        from pydantic import BaseModel, Field
        class Conf(BaseModel):
            lr: list = Field(default_factory=lambda: [@@])
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: pyd config",
        DIFFERENT,
        """
        from pydantic import BaseModel
        class Conf(BaseModel, extra='@@'):
            lr: float = 1
        def step(data, ctx):
            return Conf
    """,
        sides=("allow", "forbid"),
    ),
    Row(
        "class: pyd modelconfig",
        DIFFERENT,
        """
        from pydantic import BaseModel, ConfigDict
        class Conf(BaseModel):
            model_config=ConfigDict(frozen=@@)
            lr: float = 1
        def step(data, ctx):
            return Conf
    """,
        sides=(True, False),
    ),
    Row(
        "class: pyd validator",
        DIFFERENT,
        """
        from pydantic import BaseModel, field_validator
        class Conf(BaseModel):
            lr: float = 1
            @field_validator('lr', mode='after')
            @classmethod
            def v(cls, x): return x*@@
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: pyd valmode",
        DIFFERENT,
        """
        from pydantic import BaseModel, field_validator
        class Conf(BaseModel):
            lr: float = 1
            @field_validator('lr', mode='@@')
            @classmethod
            def v(cls, x): return x
        def step(data, ctx):
            return Conf
    """,
        sides=("before", "after"),
    ),
    Row(
        "class: pyd annotated",
        DIFFERENT,
        """
        from typing import Annotated
        from pydantic import BaseModel, AfterValidator
        class Conf(BaseModel):
            lr: Annotated[float, AfterValidator(lambda x: x*@@)] = 1
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: pyd private",
        DIFFERENT,
        """
        from pydantic import BaseModel, PrivateAttr
        class Conf(BaseModel):
            lr: float = 1
            _k: int = PrivateAttr(@@)
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: pyd nested",
        DIFFERENT,
        """
        from pydantic import BaseModel
        class In(BaseModel):
            a: int = @@
        class Conf(BaseModel):
            lr: In = In()
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: pyd computed",
        DIFFERENT,
        """
        from pydantic import BaseModel, computed_field
        class Conf(BaseModel):
            lr: float = 1
            @computed_field
            @property
            def two(self) -> float: return self.lr*@@
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: pyd inherited",
        DIFFERENT,
        """
        from pydantic import BaseModel
        class Base(BaseModel):
            lr: float = @@
        class Conf(Base):
            x: int = 1
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: pyd generic",
        DIFFERENT,
        """
        from typing import Generic, TypeVar
        from pydantic import BaseModel
        T=TypeVar('T')
        class G(BaseModel, Generic[T]):
            lr: T = @@
        Conf=G[float]
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: pyd root",
        DIFFERENT,
        """
        from pydantic import RootModel
        class Conf(RootModel[list[int]]):
            root: list[int] = [@@]
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: pyd dataclass",
        DIFFERENT,
        """
        from pydantic.dataclasses import dataclass
        @dataclass
        class Conf:
            lr: float = @@
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: pyd modelval",
        DIFFERENT,
        """
        from pydantic import BaseModel, model_validator
        class Conf(BaseModel):
            lr: float = 1
            @model_validator(mode='after')
            def v(self): self.lr*=@@; return self
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: pyd serializer",
        DIFFERENT,
        """
        from pydantic import BaseModel, field_serializer
        class Conf(BaseModel):
            lr: float = 1
            @field_serializer('lr')
            def v(self, x): return x*@@
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: pyd create_model",
        DIFFERENT,
        """
        from pydantic import create_model
        Conf=create_model('Conf', lr=(float, @@))
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: pydv1",
        DIFFERENT,
        """
        from pydantic.v1 import BaseModel
        class Conf(BaseModel):
            lr: float = @@
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: pydv1 val",
        DIFFERENT,
        """
        from pydantic.v1 import BaseModel, validator
        class Conf(BaseModel):
            lr: float = 1
            @validator('lr', allow_reuse=True)
            def v(cls, x): return x*@@
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: pydv1 conf",
        DIFFERENT,
        """
        from pydantic.v1 import BaseModel
        class Conf(BaseModel):
            lr: float = 1
            class Config:
                extra='@@'
        def step(data, ctx):
            return Conf
    """,
        sides=("allow", "forbid"),
    ),
    Row(
        "class: msgspec",
        DIFFERENT,
        """
        import msgspec
        class Conf(msgspec.Struct):
            lr: float = @@
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: msgspec kw",
        DIFFERENT,
        """
        import msgspec
        class Conf(msgspec.Struct, frozen=@@):
            lr: float = 1
        def step(data, ctx):
            return Conf
    """,
        sides=(True, False),
    ),
    Row(
        "class: msgspec rename",
        DIFFERENT,
        """
        import msgspec
        class Conf(msgspec.Struct, rename='@@'):
            lr_x: float = 1
        def step(data, ctx):
            return Conf
    """,
        sides=("camel", "pascal"),
    ),
    Row(
        "class: msgspec factory",
        DIFFERENT,
        """
        import msgspec
        class Conf(msgspec.Struct):
            lr: list = msgspec.field(default_factory=lambda: [@@])
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: msgspec tag",
        DIFFERENT,
        """
        import msgspec
        class Conf(msgspec.Struct, tag='@@'):
            lr: float = 1
        def step(data, ctx):
            return Conf
    """,
        sides=("a", "b"),
    ),
    Row(
        "class: msgspec meta",
        DIFFERENT,
        """
        import msgspec
        from typing import Annotated
        class Conf(msgspec.Struct):
            lr: Annotated[float, msgspec.Meta(gt=@@)] = 1
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: attrs",
        DIFFERENT,
        """
        import attrs
        @attrs.define
        class Conf:
            lr: float = @@
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: attrs conv",
        DIFFERENT,
        """
        import attrs
        @attrs.define
        class Conf:
            lr: float = attrs.field(default=1, converter=lambda x: x*@@)
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: attrs factory",
        DIFFERENT,
        """
        import attrs
        @attrs.define
        class Conf:
            lr: list = attrs.field(factory=lambda: [@@])
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: attrs val",
        DIFFERENT,
        """
        import attrs
        @attrs.frozen
        class Conf:
            lr: float = attrs.field(default=1, validator=attrs.validators.gt(@@))
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: attrs meta",
        DIFFERENT,
        """
        import attrs
        @attrs.frozen
        class Conf:
            lr: float = attrs.field(default=1, metadata={'a': @@})
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: attrs frozen",
        DIFFERENT,
        """
        import attrs
        @attrs.define(frozen=@@)
        class Conf:
            lr: float = 1
        def step(data, ctx):
            return Conf
    """,
        sides=(True, False),
    ),
    Row(
        "class: attrs default deco",
        DIFFERENT,
        """
        import attrs
        @attrs.define
        class Conf:
            lr: float = attrs.field()
            @lr.default
            def _d(self): return @@
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: dc",
        DIFFERENT,
        """
        from dataclasses import dataclass
        @dataclass
        class Conf:
            lr: float = @@
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: dc factory",
        DIFFERENT,
        """
        from dataclasses import dataclass, field
        @dataclass
        class Conf:
            lr: list = field(default_factory=lambda: [@@])
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: dc meta",
        DIFFERENT,
        """
        from dataclasses import dataclass, field
        @dataclass
        class Conf:
            lr: float = field(default=1, metadata={'k': @@})
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: dc compare",
        DIFFERENT,
        """
        from dataclasses import dataclass, field
        @dataclass
        class Conf:
            lr: float = field(default=1, compare=@@)
        def step(data, ctx):
            return Conf
    """,
        sides=(True, False),
    ),
    Row(
        "class: dc order",
        DIFFERENT,
        """
        from dataclasses import dataclass, field
        @dataclass(order=@@)
        class Conf:
            lr: float = 1
        def step(data, ctx):
            return Conf
    """,
        sides=(True, False),
    ),
    Row(
        "class: dc frozen",
        DIFFERENT,
        """
        from dataclasses import dataclass, field
        @dataclass(frozen=@@)
        class Conf:
            lr: float = 1
        def step(data, ctx):
            return Conf
    """,
        sides=(True, False),
    ),
    Row(
        "class: dc slots",
        DIFFERENT,
        """
        from dataclasses import dataclass, field
        @dataclass(slots=@@)
        class Conf:
            lr: float = 1
        def step(data, ctx):
            return Conf
    """,
        sides=(True, False),
    ),
    Row(
        "class: make_dataclass",
        DIFFERENT,
        """
        from dataclasses import make_dataclass, field
        Conf = make_dataclass('Conf', [('lr', float, field(default=@@))])
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: new_class",
        DIFFERENT,
        """
        import types
        Conf = types.new_class('Conf', (), {}, lambda ns: ns.update(lr=@@))
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: namedtuple",
        DIFFERENT,
        """
        from collections import namedtuple
        Conf = namedtuple('Conf', 'lr', defaults=[@@], module='collections')
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: namedtuple2",
        DIFFERENT,
        """
        from collections import namedtuple
        Conf = namedtuple('Conf', '@@', defaults=[1])
        def step(data, ctx):
            return Conf
    """,
        sides=("a", "b"),
    ),
    Row(
        "class: NT",
        DIFFERENT,
        """
        from typing import NamedTuple
        class Conf(NamedTuple):
            lr: float = @@
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: overwritten",
        DIFFERENT,
        """
        class Conf:
            lr = @@
        Conf.__module__ = 'json'
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: dunder",
        DIFFERENT,
        """
        class Conf:
            __lr__ = @@
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: init_subclass",
        DIFFERENT,
        """
        class Base:
            def __init_subclass__(cls, lr=0): cls.__lr__ = lr
        class Conf(Base, lr=@@): pass
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: init_subclass reg",
        DIFFERENT,
        """
        REG = {}
        class Base:
            def __init_subclass__(cls, lr=0): Base.reg[cls.__name__] = lr
            reg = {}
        class Conf(Base, lr=@@): pass
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: meta reg",
        DIFFERENT,
        """
        class Meta(type):
            reg = {}
            def __new__(m, n, b, d, lr=0):
                m.reg[n] = lr
                return super().__new__(m, n, b, d)
        class Conf(metaclass=Meta, lr=@@): pass
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: meta attr",
        DIFFERENT,
        """
        class Meta(type):
            def __init__(c, n, b, d, lr=0):
                super().__init__(n, b, d); c.__cfg__ = dict(lr=lr)
            def __new__(m, n, b, d, lr=0): return super().__new__(m, n, b, d)
        class Conf(metaclass=Meta, lr=@@): pass
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: slots",
        DIFFERENT,
        """
        class Conf:
            __slots__ = ('@@',)
        def step(data, ctx):
            return Conf
    """,
        sides=("a", "b"),
    ),
    Row(
        "class: match",
        DIFFERENT,
        """
        class Conf:
            __match_args__ = ('@@',)
        def step(data, ctx):
            return Conf
    """,
        sides=("a", "b"),
    ),
    Row(
        "class: descriptor",
        DIFFERENT,
        """
        class D:
            def __init__(s, k): s.k = k
            def __get__(s, o, t=None): return s.k
        class Conf:
            lr = D(@@)
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: classgetitem",
        DIFFERENT,
        """
        class B:
            def __class_getitem__(cls, k): return type(cls.__name__, (cls,), {'__k__': k})
        Conf = B[@@]
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: generic alias",
        DIFFERENT,
        """
        class B:
            def __class_getitem__(cls, k):
                import types
                return types.GenericAlias(cls, k)
        Conf = B[@@]
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: protocol",
        DIFFERENT,
        """
        from typing import Protocol, runtime_checkable
        @runtime_checkable
        class P(Protocol):
            k: int
            def f(self): return @@
        class Conf(P): k=1
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: abc",
        DIFFERENT,
        """
        from abc import ABC, abstractmethod
        class B(ABC):
            @abstractmethod
            def f(self): ...
        class Conf(B):
            def f(self): return @@
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: typeddict",
        DIFFERENT,
        """
        from typing import TypedDict
        class Conf(TypedDict, total=@@):
            lr: float
        def step(data, ctx):
            return Conf
    """,
        sides=(True, False),
    ),
    Row(
        "class: enum",
        DIFFERENT,
        """
        from enum import Enum
        class Conf(Enum):
            A = @@
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: flag",
        DIFFERENT,
        """
        from enum import Flag, STRICT, KEEP
        class Conf(Flag, boundary=@@):
            A = 1
        def step(data, ctx):
            return Conf
    """,
        sides=("STRICT", "KEEP"),
    ),
    Row(
        "class: ctypes",
        DIFFERENT,
        """
        import ctypes
        class Conf(ctypes.Structure):
            _fields_ = [('a', ctypes.c_int), ('@@', ctypes.c_int)]
        def step(data, ctx):
            return Conf
    """,
        sides=("a1", "b1"),
    ),
    Row(
        "class: ctypes pack",
        DIFFERENT,
        """
        import ctypes
        class Conf(ctypes.Structure):
            _pack_ = @@
            _fields_ = [('a', ctypes.c_char), ('b', ctypes.c_int)]
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: array_priority",
        DIFFERENT,
        """
        class Conf:
            __array_priority__ = @@
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: singledispatchmethod",
        DIFFERENT,
        """
        from functools import singledispatchmethod
        class Conf:
            @singledispatchmethod
            def f(self, x): return 0
            @f.register(int)
            def _(self, x): return @@
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: partialmethod",
        DIFFERENT,
        """
        from functools import partialmethod
        class Conf:
            def f(self, x): return 0
            g = partialmethod(f, @@)
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: total_ordering",
        DIFFERENT,
        """
        import functools
        @functools.total_ordering
        class Conf:
            def __lt__(self, o): return @@
            def __eq__(self, o): return True
        def step(data, ctx):
            return Conf
    """,
    ),
    Row(
        "class: traitlets-like",
        DIFFERENT,
        """
        class Field:
            def __set_name__(s, o, n): s.n=n
            def __init__(s, d): s.d=d
        class Conf:
            x = Field(@@)
        def step(data, ctx):
            return Conf
    """,
    ),
    *(
        Row(f"ordinary: {kind}", SAME, text)
        for kind, text in {
            "the standard library": """
                import functools, json, logging, math, os, re, warnings
                from collections import Counter, defaultdict
                from contextlib import contextmanager
                from pathlib import Path
                from typing import Any, Generic, Protocol, TypeVar

                LOG = logging.getLogger(__name__)
                WORD = re.compile(r"\\w+")
                T = TypeVar("T")

                class Named(Protocol):
                    name: str

                class Box(Generic[T]):
                    def __init__(self, item: T) -> None:
                        self.item = item

                @contextmanager
                def quiet():
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        yield

                @functools.lru_cache
                def once(x):
                    return math.sqrt(x)

                def step(data, ctx, *, path=Path("a") / "b", table=defaultdict(list)):
                    LOG.info("%s", os.path.join("a", "b"))
                    with quiet():
                        return json.dumps(Counter(WORD.findall(str(data)))), once(2), Box(1), path, table
            """,
            "classes": """
                import abc, enum, threading
                from dataclasses import dataclass, field

                class Base(abc.ABC):
                    @abc.abstractmethod
                    def fit(self, x): ...

                class Kind(enum.Enum):
                    A = enum.auto()

                @dataclass
                class Settings:
                    rate: float = 0.1
                    names: list[str] = field(default_factory=list)

                class Model(Base):
                    __slots__ = ("settings", "guard")

                    def __init__(self):
                        self.settings, self.guard = Settings(), threading.Lock()

                    def fit(self, x):
                        with self.guard:
                            return x, Kind.A, self.settings

                MODEL = Model()

                def step(data, ctx):
                    return MODEL.fit(data)
            """,
            "numpy": """
                import numpy as np
                RNG = np.random.default_rng(1)
                TABLE = np.arange(6.0).reshape(2, 3)
                square = np.vectorize(lambda x: x * x)

                def step(data, ctx):
                    name = "mean"
                    return np.linalg.norm(TABLE), getattr(np, name)(data), square(data), np.random.rand(), RNG
            """,
            "pandas": """
                import pandas as pd
                FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}).set_index("b")

                def step(data, ctx):
                    return FRAME.groupby("a").agg("sum").eval("c = 1"), pd.eval("1 + 1"), pd.to_datetime("2020-01-01")
            """,
            "scikit-learn": """
                from sklearn.linear_model import LogisticRegression
                from sklearn.metrics import make_scorer, mean_squared_error
                from sklearn.model_selection import cross_val_score
                from sklearn.pipeline import make_pipeline
                from sklearn.preprocessing import StandardScaler
                MODEL = make_pipeline(StandardScaler(), LogisticRegression(C=0.5))
                SCORE = make_scorer(mean_squared_error)

                def step(data, ctx):
                    return cross_val_score(MODEL, *data, scoring=SCORE)
            """,
            "scipy": """
                from scipy import optimize, stats
                NORM = stats.norm(0, 1)

                def step(data, ctx):
                    return optimize.minimize(lambda x: x**2, 1.0).x, NORM.pdf(0), stats.ttest_ind(data, data)
            """,
            "torch": """
                import torch
                from torch import nn
                import torch.nn.functional as F
                DEVICE = torch.device("cpu")

                class Net(nn.Module):
                    def __init__(self):
                        super().__init__()
                        self.layer = nn.Linear(2, 2)

                    @torch.no_grad()
                    def forward(self, x):
                        return F.relu(self.layer(x.to(DEVICE, torch.float32)))

                def step(data, ctx):
                    model = Net()
                    model.eval()
                    return model(data)
            """,
            "a resource": """
                from crystallize import resource_factory
                import sqlite3

                def connect(ctx):
                    return sqlite3.connect(":memory:")

                CONNECTION = resource_factory(connect)

                def step(data, ctx, *, connection=CONNECTION):
                    return connection.execute("select 1")
            """,
        }.items()
    ),
)
