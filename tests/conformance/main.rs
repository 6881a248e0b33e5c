//! What a log promises, put to every log there is.
//!
//! Promise: one suite (`suite`) runs against a vector in memory, against the log on this machine's disk
//! and against topics of Kafka; what differs between them is said in their `Subject`, nowhere else.

#[cfg(feature = "kafka")]
#[path = "../kafka/broker.rs"]
mod broker;
mod embedded;
#[cfg(feature = "kafka")]
mod kafka;
mod readings;
#[cfg(feature = "kafka")]
mod real;
mod subject;
mod suite;
mod vec_model;

/// One test for each promise, of what `$subject` makes.
macro_rules! keeps_its_promises {
    ($name:ident, $subject:path, [$($promise:ident),* $(,)?]) => {
        mod $name {
            $(
                #[test]
                fn $promise() {
                    // Where there is none, it has been said why.
                    if let Some(subject) = $subject() {
                        crate::suite::$promise(&subject);
                    }
                }
            )*
        }
    };
    ($name:ident, $subject:path) => {
        keeps_its_promises!($name, $subject, [
            rows_come_back_as_they_were_appended,
            a_receipt_names_the_offset_of_the_first_row,
            appends_that_wait_together_keep_their_order,
            a_reader_begins_where_it_is_told_to,
            a_reader_at_the_end_goes_on_when_there_is_more,
            two_readers_do_not_disturb_each_other,
            a_tick_stands_between_the_rows_before_and_after_it,
            append_times_never_go_back,
            the_ends_are_those_of_the_rows,
            a_group_finds_the_position_it_said_last,
            the_oldest_rows_can_be_removed_up_to_an_offset,
            a_reader_of_removed_rows_is_told_of_the_gap,
            whatever_is_done_reads_as_the_model_does,
        ]);
    };
}

keeps_its_promises!(vector, crate::vec_model::subject);
keeps_its_promises!(this_machine, crate::embedded::subject);
#[cfg(feature = "kafka")]
keeps_its_promises!(a_topic, crate::kafka::subject);
#[cfg(feature = "kafka")]
keeps_its_promises!(apache_kafka, crate::real::subject);
