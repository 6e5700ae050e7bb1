"""Pairs of arrays, tensors and tables of other libraries."""

from __future__ import annotations

import pairs_values
from pairs import differ, equal

__all__ = ["NAMES", "PAIRS"]

NAMES = vars(pairs_values)

ARRAYS = [
    differ("metadata of a type", "np.dtype('f8', metadata={'u': 'm'})", "np.dtype('f8', metadata={'u': 'km'})"),
    differ("metadata of an array's type", "np.zeros(1, np.dtype('f8', metadata={'u': 'm'}))", "np.zeros(1)"),
    differ(
        "metadata of a field", "np.zeros(1, [('a', np.dtype('f8', metadata={'u': 1}))])", "np.zeros(1, [('a', 'f8')])"
    ),
    differ("byte order", "np.zeros(2, '<i4')", "np.zeros(2, '>i4')"),
    differ("unit of dates", "np.zeros(1, 'M8[s]')", "np.zeros(1, 'M8[ms]')"),
    differ(
        "fields out of order",
        "np.zeros(1, {'names': ['a', 'b'], 'formats': ['i4', 'i4'], 'offsets': [4, 0]})",
        "np.zeros(1, {'names': ['a', 'b'], 'formats': ['i4', 'i4'], 'offsets': [0, 4]})",
    ),
    differ(
        "values in fields out of order",
        "np.array([(1, 2)], {'names': ['a', 'b'], 'formats': ['i4', 'i4'], 'offsets': [4, 0]})",
        "np.array([(2, 1)], {'names': ['a', 'b'], 'formats': ['i4', 'i4'], 'offsets': [4, 0]})",
    ),
    differ(
        "fields that overlap",
        "np.full(2, 1, 'u2').view({'names': ['a', 'b'], 'formats': ['u2', 'u1'], 'offsets': [0, 1]})",
        "np.full(2, 2, 'u2').view({'names': ['a', 'b'], 'formats': ['u2', 'u1'], 'offsets': [0, 1]})",
    ),
    equal("what lies between fields", "garbage(np, 0)", "garbage(np, 7)"),
    differ("title of a field", "np.zeros(1, [(('t', 'a'), 'i4')])", "np.zeros(1, [(('u', 'a'), 'i4')])"),
    differ("fields in fields", "np.zeros(1, [('a', [('b', 'i4')])])", "np.zeros(1, [('a', [('c', 'i4')])])"),
    differ("arrays in fields", "np.zeros(1, [('a', 'i4', (2, 3))])", "np.zeros(1, [('a', 'i4', (3, 2))])"),
    differ("records and structures", "np.zeros(1, [('a', 'i4')])", "np.zeros(1, [('a', 'i4')]).view(np.recarray)"),
    differ(
        "value that fills a mask",
        "np.ma.array([1, 2], mask=[0, 1], fill_value=7)",
        "np.ma.array([1, 2], mask=[0, 1], fill_value=8)",
    ),
    differ("mask", "np.ma.array([1, 2], mask=[0, 1])", "np.ma.array([1, 2], mask=[1, 0])"),
    differ("hard mask", "np.ma.array([1], mask=[1])", "np.ma.array([1], mask=[1], hard_mask=True)"),
    equal("no mask", "np.ma.array([1, 2])", "np.ma.array([1, 2], mask=[False, False])"),
    differ("attribute of a subclass of arrays", "unit_array(np, 'm')", "unit_array(np, 'km')", travels=False),
    differ("matrix and array", "np.asmatrix([[1]])", "np.array([[1]])"),
    differ("array without dimensions", "np.array(1.0)", "np.float64(1.0)"),
    differ(
        "object in an array without dimensions", "np.array({'a': 1}, dtype=object)", "np.array({'a': 2}, dtype=object)"
    ),
    differ("lists in an array", "np.array([[1, 2], [3]], dtype=object)", "np.array([[1, 2], [4]], dtype=object)"),
    differ(
        "text of variable length",
        "np.array(['a', 'b'], dtype=np.dtypes.StringDType())",
        "np.array(['a', 'c'], dtype=np.dtypes.StringDType())",
    ),
    differ("missing text", "np.dtypes.StringDType(na_object=None)", "np.dtypes.StringDType()"),
    equal("extended precision", "np.array([1, 2], np.longdouble) / 3"),
    differ(
        "extended precision that differs", "np.array([1, 2], np.longdouble) / 3", "np.array([1, 4], np.longdouble) / 3"
    ),
    differ(
        "subclass of a number of NumPy",
        "type('Degrees', (np.float64,), {'unit': 1})(2)",
        "np.float64(2)",
        travels=False,
    ),
    differ("zero and minus zero", "np.array([0.0])", "np.array([-0.0])"),
    equal(
        "array in another order of memory",
        "np.arange(6).reshape(2, 3)",
        "np.asfortranarray(np.arange(6).reshape(2, 3))",
    ),
    differ("generator of NumPy", "np.random.default_rng(1)", "np.random.default_rng(2)"),
    differ(
        "generator of NumPy that was used",
        "np.random.default_rng(1)",
        "after(np.random.default_rng(1), lambda g: g.random())",
    ),
    differ("older generator of NumPy", "np.random.RandomState(1)", "np.random.RandomState(2)"),
    differ(
        "kinds of generators", "np.random.Generator(np.random.PCG64(1))", "np.random.Generator(np.random.MT19937(1))"
    ),
    differ("seed sequence", "np.random.SeedSequence(1)", "np.random.SeedSequence(2)"),
    differ("sparse matrix and sparse array", "sp.csr_matrix([[1]])", "sp.csr_array([[1]])"),
    differ("layout of a sparse matrix", "sp.csr_matrix([[1, 0]])", "sp.csc_matrix([[1, 0]])"),
    differ("values of a sparse matrix", "sp.coo_matrix([[1, 0]])", "sp.coo_matrix([[0, 1]])"),
    equal(
        "sparse matrix that was looked at",
        "sp.csr_matrix([[1, 0]])",
        "after(sp.csr_matrix([[1, 0]]), lambda m: (m.has_sorted_indices, m.has_canonical_format))",
    ),
    differ(
        "dictionary of keys",
        "after(sp.dok_matrix((2, 2)), lambda m: m.__setitem__((0, 0), 1))",
        "after(sp.dok_matrix((2, 2)), lambda m: m.__setitem__((0, 1), 1))",
    ),
    differ(
        "fitted model",
        "sklearn.LinearRegression().fit([[0], [1]], [0, 1])",
        "sklearn.LinearRegression().fit([[0], [1]], [0, 2])",
    ),
    differ("parameter of a model", "sklearn.Ridge(alpha=1)", "sklearn.Ridge(alpha=2)"),
    differ("search tree", "spatial(np, 0)", "spatial(np, 1)"),
    differ("frozen distribution", "distributions().norm(0, 1)", "distributions().norm(0, 2)", travels=False),
    differ("dimensions", "xr.DataArray([[1]], dims=('x', 'y'))", "xr.DataArray([[1]], dims=('y', 'x'))"),
    differ(
        "coordinates",
        "xr.DataArray([1], coords={'x': [1]}, dims='x')",
        "xr.DataArray([1], coords={'x': [2]}, dims='x')",
    ),
    differ("attrs of xarray", "xr.DataArray([1], attrs={'u': 'm'})", "xr.DataArray([1], attrs={'u': 'km'})"),
    differ("values of xarray", "xr.Dataset({'a': ('x', [1])})", "xr.Dataset({'a': ('x', [2])})"),
    differ("name of xarray", "xr.DataArray([1], name='a')", "xr.DataArray([1], name='b')"),
    equal(
        "xarray that was looked at",
        "xr.DataArray([1.0], coords={'x': [1]}, dims='x')",
        "after(xr.DataArray([1.0], coords={'x': [1]}, dims='x'), lambda a: (a.attrs, a.encoding, a.x.attrs))",
    ),
    differ("unit of Pint", "pint.UnitRegistry().Quantity(1, 'm')", "pint.UnitRegistry().Quantity(1, 'km')"),
    differ(
        "magnitude of Pint",
        "pint.UnitRegistry().Quantity(np.ones(2), 'm')",
        "pint.UnitRegistry().Quantity(np.zeros(2), 'm')",
    ),
    differ("units of Pint", "pint.UnitRegistry().meter", "pint.UnitRegistry().second"),
    differ("unit of Astropy", "np.ones(2) * astropy.m", "np.ones(2) * astropy.km"),
    differ(
        "fill value of a sparse array",
        "sparse.COO([[0]], [1.0], shape=(3,))",
        "sparse.COO([[0]], [1.0], shape=(3,), fill_value=2.0)",
    ),
    differ(
        "coordinates of a sparse array", "sparse.COO([[0]], [1.0], shape=(3,))", "sparse.COO([[1]], [1.0], shape=(3,))"
    ),
    differ("array of JAX", "jnp.array([1, 2])", "jnp.array([1, 3])"),
]

TENSORS = [
    equal("tensor that wants a gradient", "torch.ones(2, requires_grad=True)"),
    differ("whether a tensor wants a gradient", "torch.ones(2, requires_grad=True)", "torch.ones(2)"),
    differ("values of a tensor", "torch.tensor([1.0, 2.0])", "torch.tensor([1.0, 3.0])"),
    differ("type of a tensor", "torch.zeros(2, dtype=torch.bfloat16)", "torch.zeros(2, dtype=torch.float16)"),
    differ("values of a half", "torch.ones(2, dtype=torch.bfloat16)", "torch.zeros(2, dtype=torch.bfloat16)"),
    differ("shape of a tensor", "torch.zeros(2, 3)", "torch.zeros(3, 2)"),
    equal("a part of a tensor", "torch.arange(6)[2:4]", "torch.tensor([2, 3])"),
    equal("a tensor turned round", "torch.arange(6).reshape(2, 3).T", "torch.arange(6).reshape(2, 3).T.contiguous()"),
    differ("sparse and dense", "torch.eye(2).to_sparse()", "torch.eye(2)"),
    differ("values of a sparse tensor", "torch.eye(2).to_sparse()", "(2 * torch.eye(2)).to_sparse()"),
    differ("layout of a sparse tensor", "torch.eye(2).to_sparse_csr()", "torch.eye(2).to_sparse_csc()"),
    equal("sparse tensor that wants a gradient", "torch.eye(2).to_sparse().requires_grad_()", travels=False),
    differ("complex tensor", "torch.tensor([1 + 2j])", "torch.tensor([1 - 2j])"),
    equal("conjugate", "torch.tensor([1 + 2j]).conj()", "torch.tensor([1 - 2j])"),
    differ(
        "quantized tensor",
        "torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8)",
        "torch.quantize_per_tensor(torch.ones(2), 0.1, 1, torch.quint8)",
    ),
    differ("parameter and tensor", "torch.nn.Parameter(torch.ones(2))", "torch.ones(2, requires_grad=True)"),
    differ(
        "attribute of a tensor", "with_attributes(torch.ones(1), unit='m')", "with_attributes(torch.ones(1), unit='km')"
    ),
    differ("tensor without content", "torch.zeros(2, device='meta')", "torch.zeros(3, device='meta')"),
    differ("number as a tensor", "torch.tensor(1)", "torch.tensor(2)"),
    equal("layer", "after(torch.manual_seed(1), id) and torch.nn.Linear(2, 2)"),
    differ(
        "layer in training", "after(torch.manual_seed(1), id) and torch.nn.Dropout(0.5)", "torch.nn.Dropout(0.5).eval()"
    ),
    differ("generator of PyTorch", "torch.Generator().manual_seed(1)", "torch.Generator().manual_seed(2)"),
    differ("memory of a tensor", "torch.ones(2).untyped_storage()", "torch.zeros(2).untyped_storage()", travels=False),
    differ("type of PyTorch", "torch.float32", "torch.float64"),
    differ("frame of Polars", "pl.DataFrame({'a': [1]})", "pl.DataFrame({'a': [2]})"),
    differ("names in Polars", "pl.DataFrame({'a': [1]})", "pl.DataFrame({'b': [1]})"),
    differ(
        "categories of Polars",
        "pl.Series('a', ['x'], dtype=pl.Enum(['x', 'y']))",
        "pl.Series('a', ['x'], dtype=pl.Enum(['y', 'x']))",
    ),
    equal("categories of Polars, again", "pl.Series('a', ['x', None], dtype=pl.Categorical)"),
    differ("types of Polars", "pl.Enum(['x', 'y'])", "pl.Enum(['y', 'x'])"),
    equal(
        "frame of Polars in pieces",
        "pl.DataFrame({'a': [1, 2], 'b': ['x', 'y']})",
        "pl.concat([pl.DataFrame({'a': [1], 'b': ['x']}), pl.DataFrame({'a': [2], 'b': ['y']})], rechunk=False)",
    ),
    differ("missing values of Polars", "pl.Series([1, None])", "pl.Series([1, 0])"),
    differ("lists in Polars", "pl.Series([[1], [2]])", "pl.Series([[1], [3]])"),
    differ(
        "objects in Polars",
        "pl.Series([{1: 2}], dtype=pl.Object)",
        "pl.Series([{1: 3}], dtype=pl.Object)",
        travels=False,
    ),
    differ("table of Arrow", "pa.table({'a': [1]})", "pa.table({'a': [2]})"),
    differ(
        "metadata of a table of Arrow",
        "pa.table({'a': [1]}).replace_schema_metadata({'u': 'm'})",
        "pa.table({'a': [1]}).replace_schema_metadata({'u': 'km'})",
    ),
    equal(
        "table of Arrow in pieces",
        "pa.table({'a': [1, 2]})",
        "pa.concat_tables([pa.table({'a': [1]}), pa.table({'a': [2]})])",
    ),
    equal("a part of an array of Arrow", "pa.array(['b', None])", "pa.array(['a', 'b', None])[1:]"),
    differ("dictionary of Arrow", "pa.array(['a']).dictionary_encode()", "pa.array(['a'])"),
    differ("type of Arrow", "pa.list_(pa.int8())", "pa.list_(pa.int16())"),
]

PAIRS = [*ARRAYS, *TENSORS]
