"""A source of another distribution, as code: the least that is a whole source."""

WHOLE = """
    from connectors.base import Description, ReadPlan, Source, SourceOptions

    class Options(SourceOptions):
        path: str

    class Ledger(Source):
        Options = Options
        def ping(self): return "Ledger 1.0"
        def describe(self, dataset): return Description(columns=())
        def plan(self, dataset, position, window): return ReadPlan(columns=())
        def read(self, spark, dataset, plan, fingerprint="nothing"): ...
        def count(self, dataset, plan): return {}
        @classmethod
        def version_columns(cls, dataset): return ()
"""
