-- Which requests were carried out. Rows older than the time for which dirpin
-- keeps values (retry_within, 7d) are of no use any more.
CREATE TABLE dirpin_requests (
    request_id VARCHAR(36) PRIMARY KEY,
    at         TIMESTAMP NOT NULL
);
