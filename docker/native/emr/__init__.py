"""An EMR Serverless that runs what is submitted to it, for moto."""
