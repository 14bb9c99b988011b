-- Order items with their order, customer, product and department
-- key: order_item_id
-- required: order_item_id, order_id, order_date, customer_id, product_id, order_item_quantity, order_item_subtotal, order_item_product_price
-- partition: month(order_date)
-- expected: order_status
-- references: customer_id in customer_dim, product_id in product_dim
-- quarantine quantity: order_item_quantity BETWEEN 1 AND 1000
-- quarantine amount: order_item_subtotal >= 0
SELECT i.order_item_id,
       o.order_id,
       o.order_date,
       o.order_status,
       c.customer_id,
       c.customer_fname,
       c.customer_lname,
       c.customer_state,
       i.order_item_product_id AS product_id,
       p.product_name,
       p.category_id,
       p.category_name,
       d.department_id,
       d.department_name,
       i.order_item_quantity,
       i.order_item_subtotal,
       i.order_item_product_price
FROM order_items i
JOIN orders o ON i.order_item_order_id = o.order_id
JOIN customer_dim c ON o.order_customer_id = c.customer_id
LEFT JOIN product_dim p ON i.order_item_product_id = p.product_id
LEFT JOIN category_dim d ON p.category_id = d.category_id
