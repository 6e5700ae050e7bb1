"""The plugins that come with Crystallize: seeding, storing, logging, executors, verifiers, reports."""
