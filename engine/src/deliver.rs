//! Events leave: subscriptions, webhooks, live tails.
