"""What turns pipelines into Airflow DAGs. The only part of Lakeferry that imports Airflow."""
