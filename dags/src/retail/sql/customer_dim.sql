-- Customers, without their passwords
-- key: customer_id
-- required: customer_id
-- expected: customer_fname, customer_lname, customer_email, customer_state
SELECT customer_id,
       trim(customer_fname) AS customer_fname,
       trim(customer_lname) AS customer_lname,
       customer_email,
       customer_street,
       customer_city,
       customer_state,
       customer_zipcode
FROM customers
