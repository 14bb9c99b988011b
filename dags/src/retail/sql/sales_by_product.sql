-- Quantity and revenue of each product
-- key: product_id
-- required: product_id, total_quantity, total_revenue
-- warn revenue: total_revenue >= 0
SELECT f.product_id,
       p.product_name,
       CAST(sum(f.order_item_quantity) AS BIGINT) AS total_quantity,
       CAST(sum(f.order_item_subtotal) AS DECIMAL(12, 2)) AS total_revenue
FROM orders_fact f
LEFT JOIN product_dim p ON f.product_id = p.product_id
GROUP BY f.product_id, p.product_name
