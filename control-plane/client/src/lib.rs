//! How every role reaches the apiserver: informers, work queue, Plan and its executor, the controller driver.
