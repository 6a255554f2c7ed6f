-- Payments with their merchant. Times are UTC wall clock; `sale_date` is the day in Tokyo.
SELECT
  p.payment_id,
  p.merchant_id,
  m.name AS merchant_name,
  m.category AS merchant_category,
  m.region AS merchant_region,
  p.amount,
  p.currency,
  p.status,
  p.paid_at,
  p.created_at,
  DATE(TIMESTAMP(p.created_at), 'Asia/Tokyo') AS sale_date,
  p.updated_at
FROM shop.payments AS p
LEFT JOIN shop.merchants AS m ON m.merchant_id = p.merchant_id
