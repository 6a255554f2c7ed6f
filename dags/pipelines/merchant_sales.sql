-- Daily sales of each merchant; a day is a day in Tokyo.
SELECT
  s.business_date,
  s.merchant_id,
  s.merchant_name,
  s.category,
  s.currency,
  s.payments,
  s.sales,
  s.refunds,
  s.fee
FROM mart.daily_merchant_sales AS s
