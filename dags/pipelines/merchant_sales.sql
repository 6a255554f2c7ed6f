-- Daily sales of each merchant, without the columns that serve the ferry.
SELECT s.* EXCEPT (_run_id, _batch)
FROM mart.daily_merchant_sales AS s
