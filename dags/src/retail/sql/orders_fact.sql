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
