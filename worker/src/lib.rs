//! The only server that knows actix: public app and admin app.
